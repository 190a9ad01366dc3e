//! Readers of model files: TorchScript archives.
