//! planish finishes quantized neural networks.
