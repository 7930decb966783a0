//! The file of credentials beside the flow file: read at the start in any form, written after a deploy in ours or, when
//! told to, in Node-RED's. What it holds is in memory only here and in the nodes that were given it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Map, Value as Json, json};

use crate::flow::cipher::{self, Form, Key, Unreadable};
use crate::flow::credentials::{Credentials, Taken};
use crate::model::flow::FlowFile;

/// Where Node-RED keeps the secret it made itself, and under which name.
const RUNTIME_FILE: &str = ".config.runtime.json";
const RUNTIME_SECRET: &str = "_credentialSecret";

/// What encrypts the file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Secret {
    /// One that is made at the first need and kept in `.config.runtime.json`, as Node-RED does.
    #[default]
    Generated,
    /// The operator's.
    Given(String),
    /// None: the file is not encrypted.
    Off,
}

/// Where the secret comes from, in Node-RED's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    System,
    User,
    Disabled,
}

impl KeyKind {
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::System => "system",
            KeyKind::User => "user",
            KeyKind::Disabled => "disabled",
        }
    }
}

impl Default for CredentialFile {
    /// In memory only, and none.
    fn default() -> Self {
        let runtime_file = PathBuf::from(RUNTIME_FILE);
        CredentialFile { path: None, runtime_file, secret: Secret::Off, compatible: false, kept: Mutex::default() }
    }
}

/// The credentials of one set of flows and the file they live in.
pub struct CredentialFile {
    /// `None`: they live in memory only.
    path: Option<PathBuf>,
    /// Where a secret is kept that is made.
    runtime_file: PathBuf,
    secret: Secret,
    /// Whether the file is to be written so that Node-RED can read it.
    compatible: bool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    credentials: Credentials,
    /// How the file on the disk is encrypted; `None` when there is none.
    form: Option<Form>,
    /// Some were found elsewhere and are not in the file yet.
    unsaved: bool,
    /// Why the file could not be read. It is kept as it is under another name before it is written.
    unreadable: Option<Unreadable>,
}

impl CredentialFile {
    /// Reads the file of credentials at `path`; none is as good as an empty one. A secret that is made is kept in the
    /// folder `secrets`.
    ///
    /// # Errors
    /// A file that is there and cannot be read from the disk. One that cannot be decrypted is no error: flows start
    /// without credentials, and [`CredentialFile::problem`] says why.
    pub fn open(path: &Path, secrets: &Path, secret: Secret, compatible: bool) -> io::Result<CredentialFile> {
        let mut kept = Kept::default();
        let runtime_file = secrets.join(RUNTIME_FILE);
        if let Some(text) = read_if_there(path)? {
            let file: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
            kept.form = Some(cipher::form_of(&file));
            match read(&runtime_file, &file, &secret)? {
                Ok(credentials) => kept.credentials = credentials,
                Err(why) => kept.unreadable = Some(why),
            }
        }
        Ok(CredentialFile { path: Some(path.to_owned()), runtime_file, secret, compatible, kept: Mutex::new(kept) })
    }

    /// Why the file could not be read, and what to do; `None` when it could.
    pub fn problem(&self) -> Option<String> {
        let why = self.kept().unreadable?;
        let path = self.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        Some(format!(
            "{path}: the credentials cannot be read: {why}; nodes run without them. Give the secret as \
             `credentialSecret` in settings.js or as PROBITY_CREDENTIALS_SECRET, or enter the credentials again in the \
             editor: the file is kept as {path}.unreadable when others are saved"
        ))
    }

    pub fn key_kind(&self) -> KeyKind {
        match self.secret {
            Secret::Generated => KeyKind::System,
            Secret::Given(_) => KeyKind::User,
            Secret::Off => KeyKind::Disabled,
        }
    }

    /// The credentials as they are now.
    pub fn now(&self) -> Credentials {
        self.kept().credentials.clone()
    }

    /// Takes `credentials` out of the entries of a whole flow file that is to be deployed, merged with those there are.
    /// Nothing is kept before [`CredentialFile::keep`].
    pub fn take_from(&self, entries: &mut [Map<String, Json>]) -> Taken {
        self.kept().credentials.take_from(entries)
    }

    /// Takes the credentials out of a flow file that was loaded, where they do not belong, and gives its nodes theirs.
    /// They are written to their own file with the next deploy.
    pub fn adopt(&self, file: &mut FlowFile) {
        let mut kept = self.kept();
        let taken = kept.credentials.take_from_some(&mut file.entries);
        kept.unsaved |= !taken.changed.is_empty();
        kept.credentials = taken.credentials;
        kept.credentials.attach(file);
    }

    /// What the editor may see of a node's credentials.
    pub fn shown(&self, node_type: &str, id: &str) -> Map<String, Json> {
        self.kept().credentials.shown(node_type, id)
    }

    /// Keeps the credentials of a deploy, on the disk first.
    ///
    /// # Errors
    /// The file cannot be written; what was kept before still is.
    pub fn keep(&self, taken: Taken) -> io::Result<()> {
        let mut kept = self.kept();
        let form = match (&self.secret, self.compatible) {
            (Secret::Off, _) => Form::Plain,
            (_, true) => Form::Compatible,
            (_, false) => Form::Sealed,
        };
        let nothing = taken.credentials.is_empty() && kept.form.is_none();
        let as_it_is =
            taken.changed.is_empty() && !kept.unsaved && (kept.form == Some(form) || kept.unreadable.is_some());
        if let Some(path) = &self.path
            && !nothing
            && !as_it_is
        {
            keep_old(path, &kept, form)?;
            self.save(path, &taken.credentials, form)?;
            (kept.form, kept.unreadable, kept.unsaved) = (Some(form), None, false);
        }
        kept.credentials = taken.credentials;
        Ok(())
    }

    /// The credentials as they are now, encrypted, as text that may leave this machine. `None` when there are none, and
    /// when they are not encrypted here: then they stay in their file.
    ///
    /// # Errors
    /// A secret that is to be made and cannot be kept.
    pub fn sealed(&self) -> io::Result<Option<String>> {
        self.seal(&self.now())
    }

    /// The same of the credentials of a deploy, before they are kept.
    ///
    /// # Errors
    /// As [`CredentialFile::sealed`].
    pub fn sealed_of(&self, taken: &Taken) -> io::Result<Option<String>> {
        self.seal(&taken.credentials)
    }

    /// The same of these credentials.
    ///
    /// # Errors
    /// As [`CredentialFile::sealed`].
    pub fn seal(&self, credentials: &Credentials) -> io::Result<Option<String>> {
        if credentials.is_empty() || self.secret == Secret::Off || self.path.is_none() {
            return Ok(None);
        }
        Ok(Some(self.written(credentials, Form::Sealed)?.to_string()))
    }

    /// What [`CredentialFile::sealed`] gave, here or elsewhere.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn unseal(&self, text: &str) -> Result<Credentials, String> {
        self.decrypt(&serde_json::from_str(text).map_err(|e| e.to_string())?)
    }

    /// Credentials encrypted with our secret, in Node-RED's form or in ours.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn decrypt(&self, sealed: &Json) -> Result<Credentials, String> {
        let read = read(&self.runtime_file, sealed, &self.secret).map_err(|e| e.to_string())?;
        read.map_err(|why| why.to_string())
    }

    /// Takes sealed credentials in place of those there are, on the disk first.
    ///
    /// # Errors
    /// Why they cannot be read or written; those there are stay.
    pub fn adopt_sealed(&self, text: &str) -> Result<(), String> {
        let credentials = self.unseal(text)?;
        if credentials.to_json() == self.now().to_json() {
            return Ok(());
        }
        let changed = credentials.ids().map(str::to_owned).collect();
        self.keep(Taken { credentials, changed }).map_err(|e| e.to_string())
    }

    fn save(&self, path: &Path, credentials: &Credentials, form: Form) -> io::Result<()> {
        let file = self.written(credentials, form)?;
        write_private(path, &format!("{file:#}"))
    }

    fn written(&self, credentials: &Credentials, form: Form) -> io::Result<Json> {
        let secret = match &self.secret {
            Secret::Off => String::new(),
            Secret::Given(secret) => secret.clone(),
            Secret::Generated => match generated(&self.runtime_file)? {
                Some(secret) => secret,
                None => generate(&self.runtime_file)?,
            },
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(cipher::write(credentials, form, &Key::of_secret(&secret), random))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|p| p.into_inner())
    }
}

/// Reads a file with the secret in force. Like Node-RED, one that a given secret does not open is tried with the
/// generated one: that is what encrypted it before the secret was given.
fn read(runtime_file: &Path, file: &Json, secret: &Secret) -> io::Result<Result<Credentials, Unreadable>> {
    let given = match secret {
        Secret::Given(secret) => Some(Key::of_secret(secret)),
        Secret::Generated | Secret::Off => None,
    };
    let first = cipher::read(file, given.as_ref());
    if first.is_ok() || first == Err(Unreadable::Malformed) {
        return Ok(first);
    }
    let Some(generated) = generated(runtime_file)? else { return Ok(first) };
    Ok(cipher::read(file, Some(&Key::of_secret(&generated))))
}

/// Keeps a file that we cannot read, or that Node-RED could read and will not any more.
fn keep_old(path: &Path, kept: &Kept, form: Form) -> io::Result<()> {
    let ending = match kept.form {
        _ if kept.unreadable.is_some() => "unreadable",
        Some(Form::Compatible) if form == Form::Sealed => "node-red",
        _ => return Ok(()),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    std::fs::copy(path, PathBuf::from(name)).map(|_| ())
}

/// The secret Node-RED made itself, if it did.
fn generated(file: &Path) -> io::Result<Option<String>> {
    let Some(text) = read_if_there(file)? else { return Ok(None) };
    let settings: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
    Ok(settings.get(RUNTIME_SECRET).and_then(Json::as_str).map(str::to_owned))
}

fn generate(file: &Path) -> io::Result<String> {
    let mut settings = match read_if_there(file)? {
        None => json!({}),
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            io::Error::other(format!("{} is not JSON ({error}), so the secret cannot be added to it", file.display()))
        })?,
    };
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let secret = hex::encode(random);
    settings[RUNTIME_SECRET] = json!(secret);
    write_private(file, &format!("{settings:#}"))?;
    Ok(secret)
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file that is there whole or not at all, and that only its owner reads.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(credentials: Json) -> Vec<Map<String, Json>> {
        let entry = json!({ "id": "n", "type": "http request", "credentials": credentials });
        vec![entry.as_object().expect("it was written as one").clone()]
    }

    fn password(file: &CredentialFile) -> Json {
        file.now().to_json()["n"]["password"].clone()
    }

    fn written(folder: &Path) -> Json {
        serde_json::from_str(&std::fs::read_to_string(folder.join("flows_cred.json")).unwrap()).unwrap()
    }

    #[test]
    fn credentials_survive_with_a_secret_that_is_made_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, path) = (folder.path(), folder.path().join("flows_cred.json"));
        let open = || CredentialFile::open(&path, dir, Secret::Generated, false).unwrap();
        let file = open();
        file.keep(file.take_from(&mut entries(json!({ "user": "u", "password": "p" })))).unwrap();
        assert_eq!(cipher::form_of(&written(dir)), Form::Sealed);
        let secret = generated(&dir.join(RUNTIME_FILE)).unwrap().unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(password(&open()), json!("p"));
        let before = written(dir);
        let again = open();
        again.keep(again.take_from(&mut entries(json!({ "password": "__PWRD__" })))).unwrap();
        assert_eq!(written(dir), before, "what did not change is not written");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }

    #[test]
    fn node_reds_file_is_read_then_sealed_and_a_copy_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, path) = (folder.path(), folder.path().join("flows_cred.json"));
        let given = || Secret::Given("test".into());
        let compatible = CredentialFile::open(&path, dir, given(), true).unwrap();
        compatible.keep(compatible.take_from(&mut entries(json!({ "password": "p" })))).unwrap();
        let foreign = written(dir);
        assert_eq!(cipher::form_of(&foreign), Form::Compatible);
        let file = CredentialFile::open(&path, dir, given(), false).unwrap();
        file.keep(file.take_from(&mut entries(json!({})))).unwrap();
        assert_eq!(cipher::form_of(&written(dir)), Form::Sealed);
        let copy = std::fs::read_to_string(dir.join("flows_cred.json.node-red")).unwrap();
        assert_eq!(serde_json::from_str::<Json>(&copy).unwrap(), foreign);
        assert_eq!(password(&CredentialFile::open(&path, dir, given(), false).unwrap()), json!("p"));
    }

    #[test]
    fn a_file_of_another_secret_is_said_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, path) = (folder.path(), folder.path().join("flows_cred.json"));
        let open = |secret: &str| CredentialFile::open(&path, dir, Secret::Given(secret.into()), false).unwrap();
        let file = open("right");
        file.keep(file.take_from(&mut entries(json!({ "password": "p" })))).unwrap();
        let before = written(dir);
        let other = open("wrong");
        assert!(other.problem().unwrap().contains("the secret is not the one"), "{:?}", other.problem());
        assert!(other.now().is_empty());
        other.keep(other.take_from(&mut entries(json!({})))).unwrap();
        assert_eq!(written(dir), before, "a deploy without credentials changes nothing");
        other.keep(other.take_from(&mut entries(json!({ "password": "new" })))).unwrap();
        assert!(other.problem().is_none());
        assert!(dir.join("flows_cred.json.unreadable").exists());
        assert_eq!(password(&open("wrong")), json!("new"));
    }

    #[test]
    fn without_encryption_the_file_is_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flows_cred.json");
        let file = CredentialFile::open(&path, folder.path(), Secret::Off, false).unwrap();
        file.keep(file.take_from(&mut entries(json!({ "password": "p" })))).unwrap();
        assert_eq!(written(folder.path()), json!({ "n": { "password": "p" } }));
        assert_eq!(file.key_kind().word(), "disabled");
    }
}
