//! Many nodes' code is checked together, and what is found is what checking each alone finds.

use serde_json::{Value as Json, json};

use super::{FunctionLimits, Rig, functions};

/// Code of the three parts of a node.
const CODE: &[(&str, &str, &str)] = &[
    ("return msg;", "", ""),
    ("msg.payload = 1;\nreturn msg", "node.warn('up');", "node.warn('down');"),
    ("let a = 1;\nlet a = 2;", "", ""),
    ("const n = await Promise.resolve(1); return {payload: n};", "", ""),
    ("return msg;", "let b = ;", ""),
    ("return msg;", "", "if ("),
    // Closes what it stands in: none of it runs beside other nodes' code, or before a message comes.
    ("}); String.prototype.trim = () => { throw 1; }; Array.prototype[Symbol.iterator] = null; (function () {", "", ""),
    ("}); while (true) {} (function () {", "", ""),
    ("// nothing but a remark", "", ""),
    ("return msg", "await 1;", ""),
    ("return { \u{0}: 1 };", "", ""),
    ("return 'a\u{0}b';", "", ""),
    ("return '\u{2028}\u{1f600}';", "", ""),
];

fn node(number: usize, code: &(&str, &str, &str)) -> Json {
    let (func, initialize, finalize) = code;
    // A remark for each node: the same code is checked only once.
    let func = format!("{func}\n// {number}");
    json!({"id": format!("f{number}"), "type": "function", "name": "", "func": func, "initialize": initialize,
        "finalize": finalize, "timeout": 1, "outputs": 1, "wires": [[]]})
}

fn problems(nodes: Json, limits: &FunctionLimits) -> Option<Vec<String>> {
    // Each time anew, so that nothing is remembered.
    let rig = Rig::new(&functions(limits.clone())?, &nodes);
    Some(rig.engine.current().diagnostics.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn code_is_found_good_or_bad_together_as_alone() {
    let limits = FunctionLimits::default();
    // More than one instance parses.
    let nodes: Vec<Json> = (0..70).map(|n| node(n, &CODE[n % CODE.len()])).collect();
    let Some(together) = problems(nodes.clone().into(), &limits) else { return };
    let alone: Vec<_> = nodes.iter().take(CODE.len()).map(|node| problems(json!([node]), &limits).unwrap()).collect();
    let bad: Vec<bool> = alone.iter().map(|problems| !problems.is_empty()).collect();
    assert_eq!(
        bad,
        [false, false, true, false, true, true, false, false, false, false, true, false, false],
        "{alone:#?}"
    );
    let mut expected = Vec::new();
    for number in 0..nodes.len() {
        let kind = number % CODE.len();
        let told = alone[kind].iter().map(|problem| {
            let problem = problem.replace("$[1]", &format!("$[{}]", number + 1));
            problem.replace(&format!("\"f{kind}\""), &format!("\"f{number}\""))
        });
        expected.extend(told);
    }
    expected.sort();
    let mut together = together;
    together.sort();
    assert_eq!(together, expected);
}

/// JavaScript takes it inside of texts, and so do nodes.
#[tokio::test]
async fn a_nul_character_is_part_of_a_text_or_a_syntax_error() {
    let Some(functions) = functions(FunctionLimits::default()) else { return };
    let rig = Rig::of(
        &functions,
        json!({"func": "return {payload: ['a\u{0}b'.charCodeAt(1), `\u{0}`.length, /^\u{0}$/.test('\\0'), '\\\u{0}\\\\\u{0}']};"}),
    );
    rig.inject("f", "{}");
    rig.settle().await;
    assert_eq!(rig.take(), [r#"1: {"payload":[0,1,true,"\u0000\\\u0000"]}"#]);
    let told =
        problems(json!([node(0, &("return msg;\nlet \u{0} = 1;", "", ""))]), &FunctionLimits::default()).unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("SyntaxError") && told[0].contains("line 2"), "{told:?}");
}
