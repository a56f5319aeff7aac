//! Hands what libFuzzer thinks of to the target `netlink`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::fuzz::take("netlink", bytes));
