//! Words on lines that fit.

use textwrap::{Options, WordSplitter, WrapAlgorithm};

/// The least that a line has room for.
const NARROWEST: usize = 20;

/// A text on lines of so many columns. A word that is longer has a line of its own, whole.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let options = Options::new(columns.max(NARROWEST))
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(text, options).into_iter();
    lines.map(std::borrow::Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        let text = "lbctl backend prepare --vip 192.0.2.80";
        let lines = wrapped(text, 22);
        assert_eq!(lines, ["lbctl backend prepare", "--vip 192.0.2.80"]);
        assert_eq!(wrapped("x-ray", 1), ["x-ray"]);
        let long = "y-".repeat(20);
        assert_eq!(wrapped(&format!("a {long} b"), 20), ["a", &long, "b"]);
        assert_eq!(wrapped("", 80), [""]);
    }
}
