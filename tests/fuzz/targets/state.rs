//! Hands what libFuzzer thinks of to the target `state`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::fuzz::take("state", bytes));
