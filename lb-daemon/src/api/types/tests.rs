//! The shapes on the wire are a promise: they change only with the version in the path.

use super::*;

#[test]
fn an_edit_tells_null_from_absent() {
    let nothing: EditService = serde_json::from_str("{}").unwrap();
    assert_eq!(nothing, EditService::default());
    let ended: EditService = serde_json::from_str(r#"{"persistence": null}"#).unwrap();
    assert_eq!(ended.persistence, Some(None));
    assert_eq!(
        serde_json::to_string(&ended).unwrap(),
        r#"{"persistence":null}"#
    );
    let changed: EditService = serde_json::from_str(r#"{"persistence": {"timeout": 60}}"#).unwrap();
    assert_eq!(
        changed.persistence,
        Some(Some(Persistence {
            timeout: 60,
            mask: None,
            leave_quiesced: None,
        }))
    );
}

#[test]
fn a_request_with_an_unknown_field_is_refused() {
    let err =
        serde_json::from_str::<AddReal>(r#"{"address": "192.0.2.1", "wieght": 3}"#).unwrap_err();
    assert!(err.to_string().contains("wieght"), "{err}");
}

#[test]
fn a_status_and_its_kind_translate_both_ways() {
    for kind in [
        Kind::Invalid,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::TooSlow,
        Kind::Conflict,
        Kind::TooLong,
        Kind::Failed,
        Kind::Busy,
    ] {
        assert_eq!(Kind::from_status(kind.status()), kind);
    }
}

#[test]
fn a_problem_is_an_object_of_three_sentences() {
    let problem =
        Problem::not_found("no service tcp 192.0.2.1:81").hint("the nearest is tcp 192.0.2.1:80");
    assert_eq!(
        serde_json::to_value(&problem).unwrap(),
        serde_json::json!({"error": "no service tcp 192.0.2.1:81", "hint": "the nearest is tcp 192.0.2.1:80"}),
    );
}
