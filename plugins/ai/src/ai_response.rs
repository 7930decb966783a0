//! `ai-response`: a question to Gemini, and its answer.

use probity_sdk::prelude::*;
use status_conventions::credential::credential;

use crate::conversation::{Conversation, Turn};
use crate::gemini::{API, Question};

/// Asks Google's Gemini a question and puts the answer into `msg.payload.payload`.
///
/// The question is `userInput` of the body, else *Input*, else `msg.payload`. With *Input is* `property` it is the path
/// of a property of the message, for example `payload.question.text`. Objects go as JSON.
///
/// Evidences and scope of the payload stay. What was said before in the same run goes along, at most *History* pairs of
/// question and answer; over several calls, only in a conversation that the caller names by `conversationId` in the
/// body or the message: callers never see each other's questions.
///
/// **Errors** go to catch nodes and nothing goes on: no key, no answer, an answer that Gemini blocked. Too many requests
/// (429) and an overloaded service (503) are asked three times.
///
/// *API key*: `secret:NAME`; it goes only to the configured *API URL*. A caller may send its own as `apiKey` in the
/// body, and `model`, `maxTokens` (or `maxOutputTokens`), `temperature`, `topP`, `topK`, `systemPrompt`, `maxHistory`,
/// `aiPayloadType`.
#[derive(Clone, Config)]
pub struct AiResponse {
    /// Key of Gemini: `secret:NAME`.
    #[config(name = "apiKey", label = "API key", default = "", secret, config_only)]
    api_key: String,
    /// The model.
    #[config(label = "Model", default = "gemini-2.5-flash")]
    model: String,
    /// Longest answer, tokens.
    #[config(name = "maxTokens", label = "Longest answer (tokens)", default = 200, min = 1, lenient)]
    max_tokens: u32,
    /// 0 for the likeliest answer, up to 2 for variety.
    #[config(label = "Temperature", default = 0.7, min = 0, max = 2, lenient)]
    temperature: f64,
    /// Tokens are taken from the likeliest that make up this probability.
    #[config(name = "topP", label = "Top P", default = 0.9, min = 0, max = 1, lenient)]
    top_p: f64,
    /// Tokens are taken from this many likeliest.
    #[config(name = "topK", label = "Top K", default = 1, min = 1, lenient)]
    top_k: u32,
    /// What the model is told first.
    #[config(
        name = "systemPrompt",
        label = "System prompt",
        default = "You are a helpful and friendly assistant.",
        multiline
    )]
    system_prompt: String,
    /// Most pairs of question and answer that go along.
    #[config(name = "maxHistory", label = "History", default = 10, min = 0, max = 1000, lenient)]
    max_history: u32,
    /// The question; empty for msg.payload.
    #[config(name = "userInput", label = "Input", default = "", config_only)]
    user_input: String,
    /// Whether the input is the question or the path of a property that has it.
    #[config(name = "aiPayloadType", label = "Input is", default = "request")]
    input_is: String,
    /// Address of the API; empty for Google's.
    #[config(
        name = "apiUrl",
        label = "API URL",
        default = "",
        placeholder = "https://generativelanguage.googleapis.com",
        config_only
    )]
    api_url: String,
}

#[node(
    type = "ai-response",
    category = "AI",
    color = "#DDAA99",
    icon = "fa-comments",
    capabilities = ["http", "secret", "state", "clock", "evidence"]
)]
impl Node for AiResponse {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        cx.status(Fill::Blue, Shape::Dot, "asking Gemini");
        let asked = config.ask(&msg, cx);
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                cx.status(Fill::Red, Shape::Dot, "no answer");
                return Err(error);
            }
        };
        cx.status(Fill::Green, Shape::Dot, "Done");
        let mut payload = probity_sdk::Map::new();
        payload.insert("payload".to_owned(), answer.into());
        for name in ["evidences", "scope"] {
            if let Some(kept) = msg.payload().get(name) {
                payload.insert(name.to_owned(), kept.clone());
            }
        }
        msg.set_payload(payload);
        cx.emit(0, msg)
    }
}

impl AiResponse {
    fn ask(&self, msg: &Message, cx: &Context) -> Result<String> {
        ensure!(!self.model.is_empty(), "no model is named: set Model, for example gemini-2.5-flash");
        let input = self.input(msg)?;
        let conversation = Conversation::of(msg);
        let history = if self.max_history == 0 { Vec::new() } else { conversation.turns(cx)? };
        let question = Question {
            api: if self.api_url.is_empty() { API.to_owned() } else { self.api_url.clone() },
            key: self.key(msg, cx)?,
            model: self.model.clone(),
            generation: self.generation(msg)?,
            turns: self.turns(history, &input),
        };
        let answer = question.ask(cx)?;
        if let Some(reason) = answer.finish.as_deref().filter(|reason| *reason != "STOP") {
            cx.warn(format_args!("the answer is not whole: Gemini stopped with {reason}"));
        }
        let kept = json!({ "model": self.model, "answer": answer.text, "finishReason": answer.finish });
        cx.evidence("ai-response", &kept, None)?;
        if self.max_history > 0 {
            conversation.add(&input, &answer.text, self.max_history as usize, cx)?;
        }
        Ok(answer.text)
    }

    /// The system prompt, if there is one, is the first thing the user says, as the original has it.
    fn turns(&self, history: Vec<Turn>, input: &str) -> Vec<Turn> {
        let user = |text: String| Turn { role: "user".to_owned(), text };
        let system = Some(&self.system_prompt).filter(|text| !text.trim().is_empty());
        if history.is_empty() {
            return vec![user(system.map_or_else(|| input.to_owned(), |system| format!("{system}\n\n{input}")))];
        }
        let mut turns: Vec<Turn> = system.into_iter().map(|system| user(system.clone())).collect();
        turns.extend(history);
        turns.push(user(input.to_owned()));
        turns
    }

    fn generation(&self, msg: &Message) -> Result<Value> {
        // The original's name for it in the body.
        let tokens = match msg.param("maxOutputTokens") {
            None => self.max_tokens,
            Some(sent) => {
                let number = sent.as_u64().or_else(|| sent.as_str()?.trim().parse().ok());
                let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
                number.context("msg.req.body.maxOutputTokens is no number of tokens")?
            }
        };
        Ok(json!({
            "maxOutputTokens": tokens,
            "temperature": probity_sdk::number(self.temperature),
            "topP": probity_sdk::number(self.top_p),
            "topK": self.top_k,
        }))
    }

    fn input(&self, msg: &Message) -> Result<String> {
        let own = Value::from(self.user_input.as_str());
        let sent = msg.param("userInput");
        if self.input_is == "property" {
            return match sent.unwrap_or(&own).as_str() {
                None => bail!("msg.req.body.userInput is no text: the path of a property was expected"),
                Some("") => Ok(String::new()),
                Some(path) => match found(msg, path) {
                    Some(value) => Ok(text(value)),
                    None => bail!("msg.{path} is undefined: there is nothing to ask"),
                },
            };
        }
        let given = sent.or((!self.user_input.is_empty()).then_some(&own));
        Ok(text(given.unwrap_or(msg.payload())))
    }

    fn key(&self, msg: &Message, cx: &Context) -> Result<String> {
        let sent = msg.param("apiKey").and_then(Value::as_str).filter(|key| !key.is_empty());
        credential(msg, sent.unwrap_or(&self.api_key), "apiKey", cx)
    }
}

/// A property by dots, `payload.0.text`, as the original reads paths; else as the engine does.
fn found<'m>(msg: &'m Message, path: &str) -> Option<&'m Value> {
    let mut steps = path.split('.');
    let first = msg.get(steps.next()?);
    let by_dots = first.and_then(|root| {
        steps.try_fold(root, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        })
    });
    by_dots.or_else(|| msg.at(path))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
