//! Gemini's `generateContent` (https://ai.google.dev/api/generate-content).

use std::time::Duration;

use probity_sdk::http::Response;
use probity_sdk::{Context, Error, Result, Value, bail, json};
use status_conventions::service::retry_after;

use crate::conversation::Turn;

/// Where Google has it.
pub const API: &str = "https://generativelanguage.googleapis.com";

const REPETITIONS: u32 = 2;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(60);

/// What goes to the model.
pub struct Question {
    pub api: String,
    pub key: String,
    pub model: String,
    /// `maxOutputTokens`, `temperature`, `topP`, `topK`.
    pub generation: Value,
    pub turns: Vec<Turn>,
}

/// What came back.
pub struct Answer {
    pub text: String,
    /// Why the model stopped, in Gemini's words; `STOP` when it was done.
    pub finish: Option<String>,
}

impl Question {
    /// Asks. Too many requests and an overloaded service are asked again, later if they say so.
    pub fn ask(&self, cx: &Context) -> Result<Answer> {
        let path = if self.model.contains('/') { self.model.clone() } else { format!("models/{}", self.model) };
        let url = format!("{}/v1beta/{path}:generateContent", self.api.trim_end_matches('/'));
        let contents: Vec<Value> =
            self.turns.iter().map(|turn| json!({ "role": turn.role, "parts": [{ "text": turn.text }] })).collect();
        let body = json!({ "generationConfig": self.generation, "safetySettings": [], "contents": contents });
        let mut attempt = 0;
        loop {
            let request = cx.http().post(&url).header("x-goog-api-key", &self.key).timeout(TIMEOUT);
            let answer = request.json(&body).send()?;
            match (answer.status(), wait(&answer, attempt, cx)) {
                (200..300, _) => return read(&answer),
                (429 | 503, Some(wait)) if attempt < REPETITIONS => cx.sleep(wait),
                _ => return Err(refused(&answer)),
            }
            attempt += 1;
        }
    }
}

/// How long to wait; `None` when it would be too long.
fn wait(answer: &Response, attempt: u32, cx: &Context) -> Option<Duration> {
    Some(retry_after(answer, cx).unwrap_or(FIRST_WAIT * (1 << attempt.min(8)))).filter(|wait| *wait <= WAIT_MAX)
}

fn refused(answer: &Response) -> Error {
    let status = answer.status();
    let said = answer.json::<Value>().ok();
    let why = said.as_ref().and_then(|said| said.pointer("/error/message")).and_then(Value::as_str);
    let why = why.map_or_else(String::new, |why| format!(": {}", why.chars().take(300).collect::<String>()));
    let hint = match status {
        400 => "the request was not accepted",
        401 | 403 => "the API key was not accepted, or may not use this model",
        404 => "there is no such model",
        429 => "too many requests, or the quota is used up",
        _ => "the service is in trouble; try again later",
    };
    Error::new(format!("Gemini answered {status}, {hint}{why}")).with_code(format!("http-{status}"))
}

/// The first candidate's text. What was blocked is an error: it is no answer.
fn read(answer: &Response) -> Result<Answer> {
    let said: Value = answer.json()?;
    if let Some(reason) = said.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
        return Err(Error::new(format!("Gemini did not take the question: {reason}")).with_code("blocked"));
    }
    let candidate = said.pointer("/candidates/0");
    let finish = candidate.and_then(|c| c.get("finishReason")).and_then(Value::as_str).map(str::to_owned);
    let blocked = ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"];
    if let Some(reason) = finish.as_deref().filter(|reason| blocked.contains(reason)) {
        return Err(Error::new(format!("Gemini held its answer back: {reason}")).with_code("blocked"));
    }
    if !said.is_object() {
        bail!("Gemini's answer is no object");
    }
    let parts = candidate.and_then(|c| c.pointer("/content/parts")).and_then(Value::as_array);
    let text = parts.into_iter().flatten().filter_map(|part| part.get("text")?.as_str()).collect();
    Ok(Answer { text, finish })
}
