//! What a peer learns: data, models, methods.
