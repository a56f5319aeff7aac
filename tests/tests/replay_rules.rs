//! Every recording of the kernel's IPVS, played to the scheduling rules alone.

use tests::replay::{
    Rules, play,
    recording::{Recording, recordings},
};

#[test]
fn the_rules_decide_as_the_kernel_did() {
    let files = recordings().unwrap();
    assert!(
        files.len() >= 54,
        "only {} recordings are there",
        files.len()
    );
    let mut wrong = Vec::new();
    for file in files {
        let recording = Recording::read(&file).unwrap();
        let report = play(&recording, &mut Rules::default()).unwrap();
        assert!(report.equal > 0, "{} checks nothing", recording.name);
        for (at, text) in report.different {
            wrong.push(format!("{} event {at}: {text}", recording.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
