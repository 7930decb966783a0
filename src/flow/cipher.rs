//! How a file of credentials is encrypted: Node-RED's way (AES-256 in counter mode, nothing that shows a change), which
//! is read and can be written, and ours (AES-256-GCM), which notices a wrong key and a changed file.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::credentials::Credentials;

/// Names our form of the file, and is bound to what is encrypted.
const FORM: &str = "aes-256-gcm";
const BOUND_TO: &[u8] = b"probity credentials 1";
/// Hexadecimal digits of the 16 bytes before the text in Node-RED's form.
const IV_CHARS: usize = 32;

/// The key to a file of credentials.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a `credentialSecret`.
    pub fn of_secret(secret: &str) -> Key {
        Key(Sha256::digest(secret.as_bytes()).into())
    }

    /// Another key for another cipher: one key is not used for two.
    fn sealing(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(BOUND_TO);
        hasher.update(self.0);
        hasher.finalize().into()
    }
}

/// How a file is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all: credentials as they are.
    Plain,
    /// Node-RED's.
    Compatible,
    /// Ours.
    Sealed,
}

/// Why credentials cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is encrypted and there is no secret")]
    NoKey,
    #[error("the secret is not the one it was encrypted with, or the file was changed")]
    WrongKey,
    #[error("it is not what Node-RED or Probity writes")]
    Malformed,
}

/// How this file is encrypted.
pub fn form_of(file: &Json) -> Form {
    match file {
        Json::Object(map) if map.get("cipher").and_then(Json::as_str) == Some(FORM) => Form::Sealed,
        Json::Object(map) if map.len() == 1 && map.get("$").is_some_and(Json::is_string) => Form::Compatible,
        _ => Form::Plain,
    }
}

/// The credentials of a file in any form.
///
/// # Errors
/// [`Unreadable`]; with the wrong key Node-RED's form is noticed by what comes out not being JSON.
pub fn read(file: &Json, key: Option<&Key>) -> Result<Credentials, Unreadable> {
    let text = |name: &str| file.get(name).and_then(Json::as_str).ok_or(Unreadable::Malformed);
    let bytes = match form_of(file) {
        Form::Plain => return Credentials::of_json(file.clone()).ok_or(Unreadable::Malformed),
        Form::Compatible => uncounted(key.ok_or(Unreadable::NoKey)?, text("$")?)?,
        Form::Sealed => unsealed(key.ok_or(Unreadable::NoKey)?, text("nonce")?, text("data")?)?,
    };
    let json = serde_json::from_slice(&bytes).map_err(|_| Unreadable::WrongKey)?;
    Credentials::of_json(json).ok_or(Unreadable::Malformed)
}

fn uncounted(key: &Key, text: &str) -> Result<Vec<u8>, Unreadable> {
    let (iv, data) = text.split_at_checked(IV_CHARS).ok_or(Unreadable::Malformed)?;
    let mut nonce = [0; 16];
    hex::decode_to_slice(iv, &mut nonce).map_err(|_| Unreadable::Malformed)?;
    let mut bytes = STANDARD.decode(data).map_err(|_| Unreadable::Malformed)?;
    count(key, &nonce, &mut bytes);
    Ok(bytes)
}

/// Encrypts or decrypts in counter mode, which are the same.
fn count(key: &Key, nonce: &[u8; 16], bytes: &mut [u8]) {
    ctr::Ctr128BE::<aes::Aes256>::new(&key.0.into(), &(*nonce).into()).apply_keystream(bytes);
}

fn unsealed(key: &Key, nonce: &str, data: &str) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = [0; 12];
    hex::decode_to_slice(nonce, &mut bytes).map_err(|_| Unreadable::Malformed)?;
    let data = STANDARD.decode(data).map_err(|_| Unreadable::Malformed)?;
    let cipher = Aes256Gcm::new(&key.sealing().into());
    cipher.decrypt(&bytes.into(), Payload { msg: &data, aad: BOUND_TO }).map_err(|_| Unreadable::WrongKey)
}

/// A file of these credentials; `random` is fresh for each file.
pub fn write(credentials: &Credentials, form: Form, key: &Key, random: [u8; 16]) -> Json {
    let json = credentials.to_json();
    let text = json.to_string();
    match form {
        Form::Plain => json,
        Form::Compatible => {
            let mut bytes = text.into_bytes();
            count(key, &random, &mut bytes);
            json!({ "$": format!("{}{}", hex::encode(random), STANDARD.encode(bytes)) })
        }
        Form::Sealed => {
            let nonce: [u8; 12] = random[..12].try_into().expect("twelve of sixteen bytes");
            let cipher = Aes256Gcm::new(&key.sealing().into());
            let payload = Payload { msg: text.as_bytes(), aad: BOUND_TO };
            let data = cipher.encrypt(&nonce.into(), payload).expect("memory for a short text");
            json!({ "cipher": FORM, "nonce": hex::encode(nonce), "data": STANDARD.encode(data) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Credentials {
        Credentials::of_json(json!({ "n1": { "user": "bob", "password": "s3cret ü" } })).expect("an object of objects")
    }

    /// Made by Node.js' crypto as Node-RED's `encryptCredentials` does: key `sha256("test")`, AES-256-CTR.
    const FOREIGN: &str = include_str!("../../tests/cases/credentials/flows_cred.json");

    #[test]
    fn node_reds_file_is_read() {
        let file: Json = serde_json::from_str(FOREIGN).unwrap();
        assert_eq!(form_of(&file), Form::Compatible);
        assert_eq!(read(&file, Some(&Key::of_secret("test"))), Ok(some()));
        assert_eq!(read(&file, Some(&Key::of_secret("other"))), Err(Unreadable::WrongKey));
        assert_eq!(read(&file, None), Err(Unreadable::NoKey));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = Key::of_secret("test");
        for form in [Form::Plain, Form::Compatible, Form::Sealed] {
            let file = write(&some(), form, &key, [7; 16]);
            assert_eq!(form_of(&file), form);
            assert_eq!(read(&file, Some(&key)), Ok(some()), "{form:?}");
            assert_eq!(file.to_string().contains("s3cret"), form == Form::Plain);
        }
    }

    #[test]
    fn a_changed_file_is_noticed() {
        let key = Key::of_secret("test");
        let sealed = write(&some(), Form::Sealed, &key, [7; 16]);
        assert_eq!(read(&sealed, Some(&Key::of_secret("other"))), Err(Unreadable::WrongKey));
        let mut data = STANDARD.decode(sealed["data"].as_str().unwrap()).unwrap();
        data[3] ^= 1;
        let changed = json!({ "cipher": FORM, "nonce": sealed["nonce"], "data": STANDARD.encode(data) });
        assert_eq!(read(&changed, Some(&key)), Err(Unreadable::WrongKey));
    }

    #[test]
    fn strange_files_are_malformed() {
        let key = Key::of_secret("test");
        for file in [
            json!([]),
            json!({ "n": "x" }),
            json!({ "$": "00" }),
            json!({ "$": "zz".repeat(20) }),
            json!({ "$": format!("{}é", "0".repeat(31)) }),
            json!({ "cipher": FORM }),
            json!({ "cipher": FORM, "nonce": "00", "data": "" }),
        ] {
            assert_eq!(read(&file, Some(&key)), Err(Unreadable::Malformed), "{file}");
        }
        assert_eq!(read(&json!({}), None), Ok(Credentials::default()));
    }
}
