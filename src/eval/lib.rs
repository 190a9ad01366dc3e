//! The reference meaning of every operator planish knows.
