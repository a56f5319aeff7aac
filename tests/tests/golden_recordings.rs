//! Every recording of the kernel's IPVS, played to the real XDP program with crafted packets.

use tests::replay::{Outcome, Program, Summary, recording::recordings};

#[test]
fn the_program_decides_as_the_kernel_did() {
    let files = recordings().unwrap();
    assert!(
        files.len() >= 54,
        "only {} recordings are there",
        files.len()
    );
    let (summary, wrong) = Program::with(|program| {
        let (mut summary, mut wrong) = (Summary::default(), Vec::new());
        for file in &files {
            let outcome = Outcome::of(file, program);
            summary.add(&outcome);
            let name = file.file_name().unwrap_or_default().display();
            match &outcome {
                Outcome::Skipped(reason) => eprintln!("SKIP {name}: {reason}"),
                Outcome::Played(report) => {
                    let different = report.different.iter();
                    wrong.extend(different.map(|(at, text)| format!("{name} event {at}: {text}")));
                }
                Outcome::Broken(_) => {}
            }
            if !outcome.is_good() {
                wrong.push(format!("{name}: {outcome}"));
            }
        }
        Ok((summary, wrong))
    })
    .unwrap();
    eprintln!("{summary}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(summary.good >= 50, "{summary}");
}
