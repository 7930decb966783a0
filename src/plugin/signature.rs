//! Signatures of packages (minisign, ed25519) and what the operator wants of them.
//!
//! A packed plugin is signed as the file it is: `NAME.wasm.minisig`, so `minisign -V` checks it, too. Of a folder
//! the manifest is signed (`plugin.minisig`), which holds the digest of the code.
//!
//! | | `off` | `warn` | `required` |
//! |---|---|---|---|
//! | signed with a trusted key | starts | starts | starts |
//! | unsigned | starts | starts, says so | refused |
//! | signed with a key that is not trusted | starts | starts, says so | refused |
//! | the signature does not fit (changed, or no signature at all) | starts | refused | refused |
//!
//! A folder being worked on (`probity plugin dev`) starts whatever its signature, and says so. Our own plugins, built
//! on this machine, are unsigned without a word unless signatures are required.

use std::io::Cursor;

use base64::Engine as _;
use minisign::{PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};
use serde::{Deserialize, Serialize};

use super::package::{Loaded, Origin, Package};
use crate::model::Diagnostic;

/// What the operator wants of signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// They are not looked at.
    Off,
    #[default]
    Warn,
    Required,
}

/// The policy and the keys it trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    policy: Policy,
    keys: Vec<PublicKey>,
}

/// What there is to say about a package's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    Unsigned,
    /// By a trusted key.
    Trusted {
        key: String,
        /// What the signer wrote; signed, too.
        comment: String,
    },
    /// By a key that is not among the trusted ones.
    UnknownKey {
        key: String,
    },
    /// It does not fit the package.
    Broken {
        why: String,
    },
}

/// Why a package does not start, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{plugin} does not start: {why}; {what_to_do}")]
pub struct Refused {
    pub plugin: String,
    pub why: String,
    pub what_to_do: String,
}

impl Trust {
    /// Keys as `minisign` prints them (56 characters), or whole `.pub` files. Every one that is none is a problem.
    pub fn new(policy: Policy, keys: &[String]) -> Result<Trust, Vec<Diagnostic>> {
        let mut trusted = Vec::new();
        let mut problems = Vec::new();
        for (i, text) in keys.iter().enumerate() {
            match public_key(text) {
                Some(key) => trusted.push(key),
                None => problems.push(
                    Diagnostic::error(
                        "bad-key",
                        format!("plugins.trusted_keys[{i}]"),
                        format!("\"{}\" is no public key", shortened(text)),
                    )
                    .expected("the second line of a minisign .pub file, 56 characters that begin with RW"),
                ),
            }
        }
        if problems.is_empty() { Ok(Trust { policy, keys: trusted }) } else { Err(problems) }
    }

    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Checks a package's signature against the trusted keys.
    pub fn state(&self, package: &Package, loaded: &Loaded) -> State {
        let Some(text) = &loaded.signature else { return State::Unsigned };
        let broken = |why: &str| State::Broken { why: why.into() };
        let Some(signature) = signature(text) else { return broken("it is no minisign signature") };
        let key_id = key_id(signature.keynum());
        let Some(key) = self.keys.iter().find(|k| k.keynum() == signature.keynum()) else {
            return State::UnknownKey { key: key_id };
        };
        if minisign::verify(key, &signature, Cursor::new(&loaded.signed), true, false, false).is_err() {
            return broken(&format!("the package is not what key {key_id} signed"));
        }
        if !package.is_file() && package.manifest.digest.is_none() {
            return broken("the signed manifest has no digest, so the code could be any");
        }
        let comment = signature.trusted_comment().unwrap_or_default();
        State::Trusted { key: key_id, comment }
    }

    /// Whether the package may start: its signature and a warning, or why not.
    pub fn admit(&self, package: &Package, loaded: &Loaded) -> Result<(State, Option<String>), Refused> {
        let state = self.state(package, loaded);
        let title = format!("plugin {} ({})", package.manifest.title(), package.path.display());
        if package.origin == Origin::Development {
            let warning = (!matches!(state, State::Trusted { .. }))
                .then(|| format!("{title} runs unsigned, because its folder is being worked on"));
            return Ok((state, warning));
        }
        let Some((why, what_to_do)) = reproach(&state, package) else { return Ok((state, None)) };
        let refused = Refused { plugin: title.clone(), why: why.clone(), what_to_do: what_to_do.clone() };
        match (self.policy, &state) {
            (Policy::Off, _) => Ok((state, None)),
            (Policy::Required, _) | (Policy::Warn, State::Broken { .. }) => Err(refused),
            (Policy::Warn, _) if package.origin == Origin::Shipped => Ok((state, None)),
            (Policy::Warn, _) => Ok((state, Some(format!("{title} {why}; {what_to_do}")))),
        }
    }
}

/// What is wrong with a signature, and what to do.
fn reproach(state: &State, package: &Package) -> Option<(String, String)> {
    let path = package.path.display();
    Some(match state {
        State::Trusted { .. } => return None,
        State::Unsigned => (
            "is not signed".into(),
            format!(
                "sign it with `probity plugin sign {path} --key FILE` and trust its key in [plugins] trusted_keys, or \
                 set [plugins] signatures = \"off\""
            ),
        ),
        State::UnknownKey { key } => (
            format!("is signed with key {key}, which is not trusted"),
            "if you trust the signer, add the public key to [plugins] trusted_keys".into(),
        ),
        State::Broken { why } => (
            format!("has a signature that does not fit: {why}"),
            "get the package again from its author; if you changed it yourself, sign it again with `probity plugin \
             sign`"
                .into(),
        ),
    })
}

/// A public key from its line, or a whole `.pub` file.
pub fn public_key(text: &str) -> Option<PublicKey> {
    let line = text.trim().lines().last()?.trim();
    let bytes = base64::engine::general_purpose::STANDARD.decode(line).ok()?;
    // The algorithm, the key's id, the key.
    (bytes.len() == 42 && bytes.starts_with(b"Ed")).then(|| PublicKey::from_bytes(&bytes).ok()).flatten()
}

/// A signature file's text. Its parts' lengths are checked here, because the library takes them on trust.
fn signature(text: &str) -> Option<SignatureBox> {
    let lines: Vec<&str> = text.lines().collect();
    let [_, signature, _, whole] = lines.as_slice() else { return None };
    let length = |line: &str| base64::engine::general_purpose::STANDARD.decode(line.trim()).ok().map(|b| b.len());
    if length(signature)? != 74 || length(whole)? != 64 {
        return None;
    }
    SignatureBox::from_string(text).ok()
}

/// A key's id as `minisign` shows it.
pub fn key_id(keynum: &[u8]) -> String {
    keynum.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

/// A new pair of keys: the secret key's file, and the public key's.
pub struct Keys {
    pub secret: String,
    pub public: String,
    /// What goes into `trusted_keys`.
    pub line: String,
    pub id: String,
}

/// Makes keys. Without a password the secret key lies in its file unprotected.
pub fn generate(password: Option<&str>) -> Result<Keys, String> {
    let pair = match password {
        Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password.into())),
        None => minisign::KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(|e| format!("cannot make keys: {e}"))?;
    let id = key_id(pair.pk.keynum());
    let secret = pair.sk.to_box(Some(&format!("Probity plugin secret key {id}"))).map_err(|e| e.to_string())?;
    let public: PublicKeyBox = pair.pk.to_box().map_err(|e| e.to_string())?;
    Ok(Keys { secret: secret.into_string(), public: public.into_string(), line: pair.pk.to_base64(), id })
}

/// Reads a secret key's file. `password` is called when the key needs one.
pub fn secret_key(text: &str, password: impl FnOnce() -> Result<String, String>) -> Result<SecretKey, String> {
    let no_key = || "the file is no minisign secret key".to_string();
    let line = text.lines().nth(1).ok_or_else(no_key)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(line.trim()).map_err(|_| no_key())?;
    // The algorithms of signature, key derivation and checksum come first.
    if bytes.len() != 158 || !bytes.starts_with(b"Ed") {
        return Err(no_key());
    }
    let key = SecretKeyBox::from_string(text).map_err(|e| e.to_string())?;
    if bytes[2..4] == [0, 0] {
        return key.into_unencrypted_secret_key().map_err(|e| format!("cannot read the secret key: {e}"));
    }
    key.into_secret_key(Some(password()?)).map_err(|_| "the password does not fit the secret key".into())
}

/// The text of a signature over these bytes. `comment` is signed, too.
pub fn sign(key: &SecretKey, bytes: &[u8], comment: &str) -> Result<String, String> {
    let signed = minisign::sign(None, key, Cursor::new(bytes), Some(comment), Some("signature of a Probity plugin"));
    signed.map(SignatureBox::into_string).map_err(|e| format!("cannot sign: {e}"))
}

/// The public key that belongs to a secret one, as a line for `trusted_keys`.
pub fn public_line(key: &SecretKey) -> Result<String, String> {
    PublicKey::from_secret_key(key).map(|k| k.to_base64()).map_err(|e| e.to_string())
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::Manifest;
    use std::path::PathBuf;

    fn package(origin: Origin, file: bool) -> Package {
        let manifest = Manifest { name: "x".into(), version: "1.0.0".into(), ..Manifest::default() };
        let path = PathBuf::from(if file { "x.wasm" } else { "x" });
        Package { manifest, origin, path, manifest_text: String::new() }
    }

    fn loaded(signed: &[u8], signature: Option<String>) -> Loaded {
        Loaded {
            code: Vec::new(),
            code_digest: String::new(),
            digest: String::new(),
            readme: None,
            signed: signed.into(),
            signature,
        }
    }

    fn signed_by(keys: &Keys, bytes: &[u8]) -> Option<String> {
        let key = secret_key(&keys.secret, || panic!("no password")).unwrap();
        Some(sign(&key, bytes, "x 1.0.0").unwrap())
    }

    #[test]
    fn the_table_of_policies() {
        let (ours, other) = (generate(None).unwrap(), generate(None).unwrap());
        let states = [
            ("trusted", loaded(b"body", signed_by(&ours, b"body"))),
            ("unsigned", loaded(b"body", None)),
            ("unknown", loaded(b"body", signed_by(&other, b"body"))),
            ("changed", loaded(b"evil", signed_by(&ours, b"body"))),
            ("rubbish", loaded(b"body", Some("rubbish".into()))),
        ];
        // For each: starts without a word, starts and says so, refused.
        for (policy, expected) in [(Policy::Off, "....."), (Policy::Warn, ".wwXX"), (Policy::Required, ".XXXX")] {
            let trust = Trust::new(policy, std::slice::from_ref(&ours.line)).unwrap();
            let outcome = |(_, loaded): &(&str, Loaded)| match trust.admit(&package(Origin::Given, true), loaded) {
                Ok((_, None)) => '.',
                Ok((_, Some(_))) => 'w',
                Err(_) => 'X',
            };
            assert_eq!(states.iter().map(outcome).collect::<String>(), expected, "{policy:?}");
        }
        let required = Trust::new(Policy::Required, std::slice::from_ref(&ours.line)).unwrap();
        assert!(required.admit(&package(Origin::Shipped, true), &states[1].1).is_err());
        let (_, warning) = required.admit(&package(Origin::Development, true), &states[1].1).unwrap();
        assert!(warning.unwrap().contains("runs unsigned"));
        let refused = required.admit(&package(Origin::Given, true), &states[1].1).unwrap_err().to_string();
        assert_eq!(
            refused,
            "plugin x 1.0.0 (x.wasm) does not start: is not signed; sign it with `probity plugin sign x.wasm --key FILE` \
             and trust its key in [plugins] trusted_keys, or set [plugins] signatures = \"off\""
        );
    }

    #[test]
    fn a_signed_manifest_without_digest_says_nothing_about_the_code() {
        let keys = generate(None).unwrap();
        let trust = Trust::new(Policy::Warn, std::slice::from_ref(&keys.line)).unwrap();
        let signed = loaded(b"manifest", signed_by(&keys, b"manifest"));
        let mut folder = package(Origin::Given, false);
        assert!(matches!(trust.state(&folder, &signed), State::Broken { .. }));
        folder.manifest.digest = Some(format!("sha256:{}", "0".repeat(64)));
        let State::Trusted { key, comment } = trust.state(&folder, &signed) else { panic!("not trusted") };
        assert_eq!((key, comment), (keys.id, "x 1.0.0".into()));
    }

    #[test]
    fn cut_signatures_and_keys_are_no_panic() {
        let keys = generate(None).unwrap();
        let trust = Trust::new(Policy::Warn, std::slice::from_ref(&keys.line)).unwrap();
        let text = signed_by(&keys, b"body").unwrap();
        for length in 0..text.len() {
            let state = trust.state(&package(Origin::Given, true), &loaded(b"body", Some(text[..length].into())));
            assert!(matches!(state, State::Broken { .. } | State::Trusted { .. }), "{length}: {state:?}");
        }
        for length in 0..keys.secret.len() {
            let _no_panic = secret_key(&keys.secret[..length], || Ok(String::new())).is_ok();
        }
        assert!(Trust::new(Policy::Warn, &["RWQ".into(), keys.public.clone(), String::new()]).unwrap_err().len() == 2);
    }

    #[test]
    fn a_password_protects_the_secret_key() {
        // The library's own parameters take a second; what is tested is that the password is asked for.
        let keys = generate(None).unwrap();
        assert!(secret_key(&keys.secret, || Err("asked".into())).is_ok());
        assert_eq!(
            secret_key("untrusted comment: x\nAAAA\n", || Ok(String::new())).unwrap_err(),
            "the file is no minisign secret key"
        );
    }
}
