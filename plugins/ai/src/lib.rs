//! Asks a language model.

mod ai_response;
mod conversation;
mod gemini;

pub use ai_response::AiResponse;

probity_sdk::plugin!(AiResponse);
