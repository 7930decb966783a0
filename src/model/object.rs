//! An object whose keys keep the order they were written in, as JavaScript's do.
//!
//! Messages are small objects that are built and changed far more often than they are searched, so entries
//! live in one vector and are found by scanning; an index appears once an object outgrows [`SCAN_MAX`]. A scan looks at a
//! byte of each key, [`mark`], eight at a time: reading the keys themselves would fetch each from where it lies.

use std::collections::HashMap;

use arcstr::ArcStr;

use super::Value;

/// Up to this many entries a scan beats hashing.
const SCAN_MAX: usize = 32;

/// Eight marks in a word: the lowest bit of each, and the highest.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;

/// What tells most keys of an object apart.
fn mark(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
    u64::from(first.wrapping_mul(31) ^ last.wrapping_mul(7) ^ bytes.len() as u8)
}

/// Ordered map from property name to [`Value`].
#[derive(Clone, Default)]
pub struct Object {
    entries: Vec<(ArcStr, Value)>,
    /// The marks of the first entries, in their order.
    marks: [u64; SCAN_MAX / 8],
    #[expect(clippy::box_collection, reason = "a message is small: the index must not make every object larger")]
    index: Option<Box<HashMap<ArcStr, u32>>>,
}

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(n: usize) -> Self {
        Object { entries: Vec::with_capacity(n), ..Object::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            None => self.scan(key),
            Some(index) => index.get(key).map(|i| *i as usize),
        }
    }

    fn scan(&self, key: &str) -> Option<usize> {
        let wanted = mark(key) * LOW;
        for (word, marks) in self.marks.iter().enumerate().take(self.entries.len().div_ceil(8)) {
            let differs = marks ^ wanted;
            // The highest bit of each byte that is 0; of some above it, too, which the key itself then tells.
            let mut alike = differs.wrapping_sub(LOW) & !differs & HIGH;
            while alike != 0 {
                let i = word * 8 + alike.trailing_zeros() as usize / 8;
                if self.entries.get(i).is_some_and(|(k, _)| k.as_str() == key) {
                    return Some(i);
                }
                alike &= alike - 1;
            }
        }
        None
    }

    fn set_mark(&mut self, i: usize) {
        if let Some(marks) = self.marks.get_mut(i / 8) {
            let at = i % 8 * 8;
            *marks = *marks & !(0xff << at) | mark(&self.entries[i].0) << at;
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|i| &self.entries[i].1)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.position(key).map(|i| &mut self.entries[i].1)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Sets a property; an existing one keeps its place. Returns what was there before.
    pub fn insert(&mut self, key: impl Into<ArcStr> + AsRef<str>, value: impl Into<Value>) -> Option<Value> {
        match self.position(key.as_ref()) {
            Some(i) => Some(std::mem::replace(&mut self.entries[i].1, value.into())),
            None => {
                self.push_new(key.into(), value.into());
                None
            }
        }
    }

    fn push_new(&mut self, key: ArcStr, value: Value) {
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.entries.len() as u32);
        }
        self.entries.push((key, value));
        self.set_mark(self.entries.len() - 1);
        if self.index.is_none() && self.entries.len() > SCAN_MAX {
            self.reindex();
        }
    }

    fn reindex(&mut self) {
        self.index = (self.entries.len() > SCAN_MAX)
            .then(|| Box::new(self.entries.iter().enumerate().map(|(i, (k, _))| (k.clone(), i as u32)).collect()));
    }

    /// Removes a property, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let i = self.position(key)?;
        let (_, value) = self.entries.remove(i);
        (i..self.entries.len().min(SCAN_MAX)).for_each(|i| self.set_mark(i));
        if self.index.is_some() {
            self.reindex();
        }
        Some(value)
    }

    /// The property, set to `Undefined` first when it is missing.
    pub fn entry_mut(&mut self, key: &ArcStr) -> &mut Value {
        let i = match self.position(key) {
            Some(i) => i,
            None => {
                self.push_new(key.clone(), Value::Undefined);
                self.entries.len() - 1
            }
        };
        &mut self.entries[i].1
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&ArcStr, &Value)> + ExactSizeIterator {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = (&ArcStr, &mut Value)> {
        self.entries.iter_mut().map(|(k, v)| (&*k, v))
    }

    pub fn keys(&self) -> impl Iterator<Item = &ArcStr> {
        self.entries.iter().map(|(k, _)| k)
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Object {
    /// Equal when both hold the same properties, whatever their order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(k, v)| other.get(k) == Some(v))
    }
}

impl<K: Into<ArcStr> + AsRef<str>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(iter: T) -> Self {
        let mut object = Object::new();
        for (k, v) in iter {
            object.insert(k, v);
        }
        object
    }
}

impl IntoIterator for Object {
    type Item = (ArcStr, Value);
    type IntoIter = std::vec::IntoIter<(ArcStr, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_finds_keys_below_and_above_the_scan_limit() {
        let mut object = Object::new();
        for i in 0..40 {
            object.insert(format!("k{i}"), i as f64);
        }
        object.insert("k3", 300.0);
        assert_eq!(object.remove("k5").unwrap(), Value::from(5.0));
        assert!(object.get("k5").is_none());
        assert_eq!(object.get("k3"), Some(&Value::from(300.0)));
        assert_eq!(object.get("k39"), Some(&Value::from(39.0)));
        assert_eq!(object.keys().nth(4).unwrap(), "k4");
        assert_eq!(object.keys().nth(5).unwrap(), "k6");
    }

    /// Against a plain list, whatever comes and goes: keys that share a mark, empty ones, more than are scanned.
    #[test]
    fn finds_what_a_plain_list_has() {
        let keys = ["", "a", "aa", "aba", "aca", "ada", "k", "payload", "_msgid", "é", "ü", "parts", "patrs"];
        let keys: Vec<String> =
            keys.into_iter().map(String::from).chain((0..50).map(|i| format!("x{}y", i * 7 % 50))).collect();
        let (mut object, mut list) = (Object::new(), Vec::<(String, f64)>::new());
        let mut random = 12345_u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = &keys[(random >> 33) as usize % keys.len()];
            let place = list.iter().position(|(k, _)| k == key);
            if (random >> 20) % 5 < if step / 1000 % 2 == 0 { 3 } else { 1 } {
                let value = f64::from(step);
                object.insert(key.as_str(), value);
                match place {
                    Some(at) => list[at].1 = value,
                    None => list.push((key.clone(), value)),
                }
            } else {
                assert_eq!(object.remove(key), place.map(|at| Value::from(list.remove(at).1)));
            }
            let both = object.iter().map(|(k, v)| (k.to_string(), v.clone()));
            assert!(both.eq(list.iter().map(|(k, v)| (k.clone(), Value::from(*v)))), "{step}");
            for key in &keys {
                let expected = list.iter().find(|(k, _)| k == key).map(|(_, v)| Value::from(*v));
                assert_eq!(object.get(key), expected.as_ref(), "{step} {key}");
            }
        }
    }
}
