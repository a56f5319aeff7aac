//! Hands what libFuzzer thinks of to the target `vrrp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::fuzz::take("vrrp", bytes));
