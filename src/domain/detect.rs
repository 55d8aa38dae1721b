//! Detectors of values that look like secrets: tokens, private keys, cloud keys, card numbers.
