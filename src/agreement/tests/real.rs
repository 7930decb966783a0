//! Real Governify agreements (`tests/data/agreements`, MIT).

use super::*;

fn real(name: &str) -> (Option<Agreement>, Vec<crate::model::Diagnostic>) {
    let path = root().join("tests/data/agreements").join(name);
    load(&std::fs::read_to_string(path).unwrap(), name)
}

#[test]
fn agreements_of_governify_load_without_errors() {
    for (name, guarantees) in [("tpa-manager-project.json", 1), ("tp-tester-default.json", 1)] {
        let (agreement, problems) = real(name);
        let agreement = agreement.unwrap_or_else(|| panic!("{name}: {problems:#?}"));
        assert!(agreement.guarantees.len() >= guarantees, "{name}");
        assert_eq!(agreement.time_zone_name, "America/Los_Angeles");
        assert!(agreement.guarantees.iter().all(|g| !g.terms.is_empty()), "{name}");
    }
}

#[test]
fn a_template_is_refused_once_and_clearly() {
    let (agreement, problems) = real("tpa-manager-template.json");
    assert!(agreement.is_none());
    let errors: Vec<_> = problems.iter().filter(|p| p.severity == Severity::Error).map(|p| p.code.as_str()).collect();
    assert_eq!(errors, ["template"], "{problems:#?}");
}

/// Every published agreement loads, or each of its problems says where it is.
#[test]
fn the_published_agreements_load_or_say_where_they_are_wrong() {
    let folder = root().join("../shared/data/agreements");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED, as the agreements are not here: {}", folder.display());
        return;
    };
    let (mut loaded, mut refused) = (0, Vec::new());
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["manifest.json", "histogram.json"].contains(&name.as_str()) || path.is_dir() {
            continue;
        }
        let bundle = crate::agreement::bundle::load_all(&std::fs::read_to_string(&path).unwrap(), &name);
        let errors: Vec<_> = bundle.problems.iter().filter(|p| p.severity == Severity::Error).collect();
        if errors.is_empty() {
            assert!(bundle.agreements.len() + bundle.templates.len() > 0, "{name}");
            loaded += bundle.agreements.len() + bundle.templates.len();
        } else {
            for error in errors {
                assert!(error.line.is_some() && error.path.len() > 1 && !error.message.is_empty(), "{name}: {error}");
            }
            refused.push(name);
        }
    }
    assert!(loaded > 20, "{loaded} documents");
    // Its objective holds `/\\`, which is no operator of any generation.
    assert!(matches!(refused.as_slice(), [one] if one.ends_with("agreement-inconsistent.yaml")), "{refused:?}");
}

/// Objectives as the published corpus of Governify agreements has them, by shape.
#[test]
fn objectives_of_the_corpus_parse() {
    for text in [
        "SPU_IO_K01 >= 95.00",
        "SPU_IO_K06_t <= 7.50",
        "SPU_IO_K06_current_penalty * SPU_IO_K06_last_penalty == 0",
        "STDEV_GITHUB_MERGE_PR < 1",
        "REMAINING_POINTS == 0",
        "CURRENT_FINISHED_STORIES - FINISHED_STORIES_THREE_DAYS_AGO > 0",
        "COUNT_PRS_WITH_AT_LEAST_ONE_COMMENT_OR_ONE_REVIEW_COMMENT_BY_MEMBER/COUNT_PR*100 >= 75",
    ] {
        assert!(crate::expr::parse(text).is_ok(), "{text}");
    }
}
