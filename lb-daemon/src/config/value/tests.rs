//! What is read and what is not, and that nothing makes a reader panic.

use std::net::IpAddr;

use super::*;
use proptest::prelude::*;

const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1 << 48);

#[test]
fn durations_read_as_they_are_written() {
    for (text, millis) in [
        ("100ms", 100),
        ("1s", 1_000),
        ("90s", 90_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("1m1ms", 60_001),
        ("0s", 0),
    ] {
        assert_eq!(
            duration(text, ANY),
            Ok(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in [
        "", "s", "1", "1 s", "1x", "-1s", "1.5s", "30m1h", "1s1s", "1m 1s", "٣s",
    ] {
        assert!(duration(text, ANY).is_err(), "{text}");
    }
    let overflow = "99999999999999999999d";
    assert!(duration(overflow, ANY).is_err());
    assert!(duration("18446744073709551615d", ANY).is_err());
}

#[test]
fn a_number_without_a_unit_is_not_guessed_at() {
    let wrong = duration("300", ANY).unwrap_err();
    assert_eq!(
        wrong.hint,
        "write the unit: `300s` for seconds, `300m` for minutes"
    );
}

#[test]
fn endpoints_of_both_families_and_networks() {
    for text in [
        "192.0.2.1:80",
        "[2001:db8::1]:53",
        "10.20.0.0/16:80",
        "[2001:db8::/32]:0",
        "0.0.0.0/0:80",
    ] {
        assert_eq!(endpoint(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        ":",
        ":80",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.256:80",
        "192.0.2.01:80",
        "2001:db8::1:80",
        "[2001:db8::1",
        "[2001:db8::1]80",
        "web:80",
        "tcp://192.0.2.1:80",
        "10.20.0.1/16:80",
        "10.20.0.0/33:80",
        "10.20.0.0/:80",
    ] {
        assert!(endpoint(text).is_err(), "{text}");
    }
    let wrong = endpoint("10.20.0.1/16:80").unwrap_err();
    assert!(
        wrong.hint.starts_with("write `10.20.0.0/16:80`"),
        "{}",
        wrong.hint
    );
}

#[test]
fn a_dotted_mask_is_answered_with_its_length() {
    assert_eq!(client_mask("24"), Ok(24));
    assert_eq!(client_mask("/24"), Ok(24));
    assert_eq!(client_mask("255.255.255.0").unwrap_err().hint, "write `24`");
    assert!(client_mask("255.0.255.0").is_err());
    assert!(client_mask("129").is_err());
}

#[test]
fn a_bad_word_is_answered_with_the_nearest() {
    let words = [("auto", 1), ("native", 2), ("generic", 3)];
    assert_eq!(word("native", &words), Ok(2));
    assert_eq!(
        word("nativ", &words).unwrap_err().hint,
        "did you mean `native`? the words are native, auto, generic"
    );
    assert_eq!(
        word("x", &words).unwrap_err().hint,
        "the words are auto, native, generic"
    );
}

#[test]
fn masks_keep_the_leading_bits() {
    let a: IpAddr = "10.20.30.40".parse().unwrap();
    assert_eq!(mask(a, 32), a);
    assert_eq!(mask(a, 0).to_string(), "0.0.0.0");
    assert_eq!(mask(a, 16).to_string(), "10.20.0.0");
    assert_eq!(
        mask("2001:db8::1".parse().unwrap(), 32).to_string(),
        "2001:db8::"
    );
    assert_eq!(mask("2001:db8::1".parse().unwrap(), 0).to_string(), "::");
}

proptest! {
    #[test]
    fn any_duration_survives_writing(millis in 0u64..1 << 50) {
        let d = Duration::from_millis(millis);
        prop_assert_eq!(duration(&Written(d).to_string(), ANY), Ok(d));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in any::<String>()) {
        let _ = (duration(&text, ANY), endpoint(&text), real_address(&text), name(&text));
        let _ = (client_mask(&text), interface(&text), number(&text, 1..=9), truth(&text));
        let _ = (interface_address(&text), plain_address(&text));
    }

    #[test]
    fn what_looks_like_an_endpoint_is_read_without_panic(text in "[\\[\\]0-9a-f:./]{0,24}") {
        let _ = (endpoint(&text), real_address(&text), interface_address(&text));
    }

    #[test]
    fn a_hint_for_a_bad_name_is_a_good_name(text in any::<String>()) {
        if let Err(wrong) = name(&text) {
            let better = wrong.hint.split('`').nth(1).unwrap();
            prop_assert!(name(better).is_ok(), "{}", better);
        }
    }
}
