//! The graph IR of planish: modules, graphs, types, tensors, operators, text.
