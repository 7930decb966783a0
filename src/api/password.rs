//! Passwords against their hashes, and those that everybody knows because somebody's setup ships them.

use sha2::{Digest, Sha256};

/// Passwords that installations come with: those of STATUS' setup and of its image, and what examples suggest.
pub const SHIPPED: &[&str] =
    &["admin", "admin123", "dev123", "developer", "user123", "password", "example_pass", "nodered", "node-red"];

/// Hashes of shipped passwords as their files have them, which need no trying: STATUS' `developer` (its settings
/// template), the user of its image, the example in Node-RED's settings.js.
const SHIPPED_HASHES: &[(&str, &str)] = &[
    ("$2a$12$.pB1blMpPJJ42Dd1PiWYne4uxE8NrCHnioblVdp65MbOOkXRRLHNW", "dev123"),
    ("$2a$12$/Z7s4pOH6i6f58r0PGAW7OLdG/cQEltS813rOA6XuB11W6SlCKPvy", "admin"),
    ("$2a$08$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN.", "password"),
];

/// Marks the hash of a password that was given in the environment.
const GIVEN: &str = "sha256:";

/// What stands for a password that was given as it is, so that it lies nowhere.
pub fn given(password: &str) -> String {
    format!("{GIVEN}{}", hex::encode(Sha256::digest(password.as_bytes())))
}

/// Whether a hash has a form that [`verify`] knows: bcrypt's (`$2a$`, `$2b$`, `$2y$`), or that of [`given`].
pub fn is_hash(hash: &str) -> bool {
    let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
    (bcrypt && hash.parse::<bcrypt::HashParts>().is_ok()) || is_given(hash)
}

fn is_given(hash: &str) -> bool {
    hash.strip_prefix(GIVEN).is_some_and(|digest| digest.len() == 64)
}

/// Whether the password is the hash's; slow by design for bcrypt.
pub fn verify(password: &str, hash: &str) -> bool {
    match hash.strip_prefix(GIVEN) {
        Some(digest) => {
            let found = hex::encode(Sha256::digest(password.as_bytes()));
            digest.len() == found.len() && digest.bytes().zip(found.bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
        }
        None => bcrypt::verify(password, hash).unwrap_or(false),
    }
}

/// What no password fits: for a user whose hash could not be read.
pub fn nobodys() -> String {
    format!("{GIVEN}{}", "0".repeat(64))
}

/// Whether this is [`nobodys`].
pub fn is_nobodys(hash: &str) -> bool {
    hash.strip_prefix(GIVEN).is_some_and(|digest| digest.bytes().all(|b| b == b'0'))
}

/// Whether everybody knows this password.
pub fn is_shipped(password: &str) -> bool {
    SHIPPED.contains(&password)
}

/// The shipped password behind a hash, when the hash itself is one that ships.
pub fn known_hash(hash: &str) -> Option<&'static str> {
    SHIPPED_HASHES.iter().find(|(known, _)| *known == hash).map(|(_, password)| *password)
}

/// The shipped password behind a hash. Tries them all: seconds for a bcrypt hash of cost 12.
pub fn shipped_behind(hash: &str) -> Option<&'static str> {
    known_hash(hash).or_else(|| SHIPPED.iter().copied().find(|password| verify(password, hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes_are_those_of_their_passwords() {
        // The cheapest of them; the other two cost 12.
        let (hash, password) = SHIPPED_HASHES[2];
        assert!(verify(password, hash) && SHIPPED.contains(&password));
        assert_eq!(known_hash(SHIPPED_HASHES[0].0), Some("dev123"));
        assert_eq!(known_hash("$2a$12$other"), None);
    }

    #[test]
    fn shipped_passwords_are_found_behind_a_hash() {
        let hash = |password| bcrypt::hash(password, 4).unwrap();
        assert_eq!(shipped_behind(&hash("dev123")), Some("dev123"));
        assert_eq!(shipped_behind(&hash("correct horse")), None);
        assert_eq!(shipped_behind(&given("admin")), Some("admin"));
    }

    #[test]
    fn given_passwords_lie_nowhere() {
        let hash = given("correct horse");
        assert!(!hash.contains("correct") && verify("correct horse", &hash) && !verify("x", &hash) && is_hash(&hash));
        assert!(!is_hash("plain") && !is_hash("sha256:abc"));
    }
}
