//! What `/metrics` says as OTLP metrics, so that both ways out say the same.

use serde_json::{Map, Value as Json, json};

use super::otlp::{attributes, scope};

/// One family of the text.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    unit: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The body of an export request: the metrics of an OpenMetrics text as they stood at `now`, nanoseconds since the Unix
/// epoch. What is no line of such a text is left out.
pub(super) fn request(text: &str, resource: &Json, now: i128) -> Json {
    let families = families(text);
    let started = families.iter().find(|f| f.name == "process_start_time_seconds").and_then(|f| f.samples.first());
    let started = started.map_or(now, |s| (s.value * 1e9) as i128);
    let metrics: Vec<Json> = families.iter().filter_map(|f| metric(f, started, now)).collect();
    json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "scope": scope(), "metrics": metrics }] }] })
}

fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(what), Some(name)) = (words.next(), words.next()) else { continue };
            if families.last().is_none_or(|f| f.name != name) {
                families.push(Family { name: name.into(), ..Family::default() });
            }
            let said = words.next().unwrap_or_default().to_string();
            if let Some(family) = families.last_mut() {
                match what {
                    "TYPE" => family.kind = said,
                    "HELP" => family.help = said.trim_end_matches('.').into(),
                    "UNIT" => family.unit = said,
                    _ => {}
                }
            }
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line))
            && sample.name.starts_with(&family.name)
        {
            family.samples.push(sample);
        }
    }
    families
}

/// `name{label="value",…} 1.5`, without timestamp and exemplar.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches(',');
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_string(), value));
            rest = after;
        }
    }
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.into(), labels, value })
}

/// A label's value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn metric(family: &Family, started: i128, now: i128) -> Option<Json> {
    let point = |sample: &Sample, cumulative: bool| {
        let mut point = Map::new();
        point.insert("attributes".into(), attributes(sample.labels.iter().map(|(k, v)| (k.as_str(), v.clone()))));
        if cumulative {
            point.insert("startTimeUnixNano".into(), started.to_string().into());
        }
        point.insert("timeUnixNano".into(), now.to_string().into());
        point.insert("asDouble".into(), sample.value.into());
        Json::Object(point)
    };
    let points = |suffix: &str, cumulative: bool| -> Vec<Json> {
        let name = format!("{}{suffix}", family.name);
        family.samples.iter().filter(|s| s.name == name && s.value.is_finite()).map(|s| point(s, cumulative)).collect()
    };
    let data = match family.kind.as_str() {
        "counter" => {
            let sum = json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points("_total", true) });
            ("sum", sum)
        }
        "histogram" => {
            let histogram = json!({ "aggregationTemporality": 2, "dataPoints": histograms(family, started, now) });
            ("histogram", histogram)
        }
        _ => ("gauge", json!({ "dataPoints": points("", false) })),
    };
    if data.1["dataPoints"].as_array().is_none_or(Vec::is_empty) {
        return None;
    }
    let unit = if family.unit == "seconds" { "s" } else { &family.unit };
    Some(json!({ "name": family.name, "description": family.help, "unit": unit, data.0: data.1 }))
}

/// One point for each set of labels. The text counts up to a bound, OTLP between bounds.
fn histograms(family: &Family, started: i128, now: i128) -> Vec<Json> {
    type Labels = Vec<(String, String)>;
    /// Labels, what was counted up to each bound, and the sum.
    type Point = (Labels, Vec<(f64, f64)>, f64);
    let mut points: Vec<Point> = Vec::new();
    for sample in &family.samples {
        let labels: Labels = sample.labels.iter().filter(|(k, _)| k != "le").cloned().collect();
        let at = points.iter().position(|(known, ..)| *known == labels).unwrap_or_else(|| {
            points.push((labels, Vec::new(), 0.0));
            points.len() - 1
        });
        match sample.name.strip_prefix(family.name.as_str()) {
            Some("_sum") => points[at].2 = sample.value,
            Some("_bucket") => {
                let le = sample.labels.iter().find(|(k, _)| k == "le").map_or("", |(_, v)| v.as_str());
                let bound = if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() };
                points[at].1.extend(bound.map(|bound| (bound, sample.value)));
            }
            _ => {}
        }
    }
    let point = |(labels, buckets, sum): (Labels, Vec<(f64, f64)>, f64)| {
        let mut before = 0.0;
        let counts: Vec<String> = buckets
            .iter()
            .map(|(_, upto)| {
                let between = (upto - before).max(0.0) as u64;
                before = *upto;
                between.to_string()
            })
            .collect();
        let bounds: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).filter(|b| b.is_finite()).collect();
        json!({
            "attributes": attributes(labels.iter().map(|(k, v)| (k.as_str(), v.clone()))),
            "startTimeUnixNano": started.to_string(), "timeUnixNano": now.to_string(),
            "count": (before as u64).to_string(), "sum": sum, "bucketCounts": counts, "explicitBounds": bounds,
        })
    };
    points.into_iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP probity_runs Ended runs.\n# TYPE probity_runs counter\n\
        probity_runs_total{state=\"done\"} 3\nprobity_runs_total{state=\"a \\\"b\\\" \\\\ {,}\"} 1 # {x=\"y\"} 1\n\
        # HELP took Time.\n# TYPE took histogram\n# UNIT took seconds\ntook_sum{h=\"x\"} 1.5\ntook_count{h=\"x\"} 4\n\
        took_bucket{le=\"0.1\",h=\"x\"} 1\ntook_bucket{le=\"1.0\",h=\"x\"} 3\ntook_bucket{le=\"+Inf\",h=\"x\"} 4\n\
        # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 10.5\nnot a line\n# EOF\n";

    #[test]
    fn counters_gauges_and_histograms_keep_their_numbers() {
        let body = request(TEXT, &json!({}), 20_000_000_000);
        let metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let names: Vec<&str> = metrics.iter().map(|m| m["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["probity_runs", "took", "process_start_time_seconds"]);
        let runs = &metrics[0]["sum"]["dataPoints"];
        assert_eq!((&runs[0]["asDouble"], &runs[0]["startTimeUnixNano"]), (&json!(3.0), &json!("10500000000")));
        assert_eq!(runs[1]["attributes"][0]["value"]["stringValue"], "a \"b\" \\ {,}");
        assert_eq!(metrics[0]["description"], "Ended runs");
        let took = &metrics[1]["histogram"]["dataPoints"][0];
        assert_eq!((&took["count"], &took["sum"]), (&json!("4"), &json!(1.5)));
        assert_eq!((&took["bucketCounts"], &took["explicitBounds"]), (&json!(["1", "2", "1"]), &json!([0.1, 1.0])));
        assert_eq!((&metrics[1]["unit"], &took["attributes"][0]["key"]), (&json!("s"), &json!("h")));
        assert_eq!(metrics[2]["gauge"]["dataPoints"][0]["asDouble"], 10.5);
    }

    #[test]
    fn broken_text_gives_fewer_metrics_and_no_panic() {
        for end in 0..TEXT.len() {
            request(&TEXT[..end], &json!({}), 1);
            request(&TEXT[end..], &json!({}), 1);
        }
    }
}
