//! What a client needs to check a response, and nothing else.
