//! JSON as it is usual for lists: an object an entry, one a line or all in an array, or plain strings and numbers.
//!
//! A text is taken for what it says, everything else as it was written: so no digit of a number is lost.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::input::{self, Lines};

use super::Source;
use super::delimited::no_column;
use super::incoming::Incoming;

pub(super) fn read(source: &Source, incoming: &mut Incoming<'_>) -> Result<()> {
    let mut text = input::list(&source.path).map_err(|cause| source.fault(cause))?;
    let layout = layout(&mut text).map_err(|cause| source.fault(cause))?;
    incoming.begin(&[]).map_err(|cause| source.fault(cause))?;
    let mut entries = Entries { source, incoming, id: None, places: HashMap::new(), number: 0, error: None };
    // What is read byte by byte is read fast from a buffer of a known type only.
    let reader = |text| Deserializer::from_reader(BufReader::with_capacity(1 << 16, text));
    let read = match layout {
        Layout::Lines => return entries.read_lines(text),
        Layout::Array => {
            let mut reader = reader(text);
            reader.deserialize_seq(&mut entries).and_then(|()| reader.end())
        }
        Layout::Values => reader(text).into_iter::<Box<RawValue>>().try_for_each(|entry| entries.add(&entry?)),
    };
    // What stopped it says more than that it was stopped.
    match (entries.error, read) {
        (Some(error), _) => Err(error),
        (None, Err(cause)) => Err(source.fault(cause)),
        (None, Ok(())) => Ok(()),
    }
}

/// How the entries are laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// One a line, which is read five times as fast.
    Lines,
    /// All in an array.
    Array,
    /// One behind the other, anyhow.
    Values,
}

fn layout(text: &mut dyn BufRead) -> std::io::Result<Layout> {
    if first_letter(text)? == Some(b'[') {
        return Ok(Layout::Array);
    }
    let begins = text.fill_buf()?;
    let line = begins.split(|byte| *byte == b'\n').next().filter(|line| line.len() < begins.len());
    let whole = line.is_some_and(|line| serde_json::from_slice::<&RawValue>(line).is_ok());
    Ok(if whole { Layout::Lines } else { Layout::Values })
}

fn first_letter(text: &mut dyn BufRead) -> std::io::Result<Option<u8>> {
    loop {
        let bytes = text.fill_buf()?;
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match bytes.get(blank) {
            Some(letter) => return Ok(Some(*letter)),
            None if bytes.is_empty() => return Ok(None),
            None => text.consume(blank),
        }
    }
}

/// What is known of the entries so far.
struct Entries<'a, 'c> {
    source: &'a Source,
    incoming: &'a mut Incoming<'c>,
    /// The key of the ids, and whether it is the one that was asked for.
    id: Option<(String, bool)>,
    /// Where the value of each other key goes; nowhere, if it is left out. Keys in small letters.
    places: HashMap<String, Option<usize>>,
    number: u64,
    error: Option<Error>,
}

/// The keys and values of an object, in their order.
struct Object<'j>(Vec<(Cow<'j, str>, &'j RawValue)>);

impl Entries<'_, '_> {
    fn read_lines(mut self, text: Box<dyn BufRead + Send>) -> Result<()> {
        let mut lines = Lines::new(text);
        while let Some(line) = lines.next_line().map_err(|cause| self.source.fault(cause))? {
            if line.trim().is_empty() {
                self.incoming.blank += 1;
                continue;
            }
            let added = serde_json::from_str(line).and_then(|entry| self.add(entry));
            if let Err(cause) = added {
                let error = self.source.fault(format!("line {}: {cause}", lines.number()));
                return Err(self.error.unwrap_or(error));
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &RawValue) -> serde_json::Result<()> {
        self.number += 1;
        let taken = match entry.get().as_bytes()[0] {
            b'{' => self.add_object(&serde_json::from_str(entry.get())?),
            b'"' | b'-' | b'0'..=b'9' => self.add_row(text(entry)?.as_deref(), &[]),
            _ => Err(self.fault("it is neither an object nor a text")),
        };
        taken.map_err(|error| {
            self.error = Some(error);
            serde::de::Error::custom("stopped")
        })
    }

    fn fault(&self, cause: impl fmt::Display) -> Error {
        self.source.fault(format!("entry {}: {cause}", self.number))
    }

    fn add_row(&mut self, guid: Option<&str>, others: &[Option<Cow<'_, str>>]) -> Result<()> {
        let guid = guid.filter(|guid| !guid.trim().is_empty());
        let others = (0..self.incoming.columns.len()).map(|place| others.get(place)?.as_deref());
        self.incoming.append(std::iter::once(guid).chain(others)).map_err(|cause| self.fault(cause))
    }

    fn add_object(&mut self, object: &Object<'_>) -> Result<()> {
        let id = self.id_key(object)?;
        let mut guid = None;
        let mut others = vec![None; self.incoming.columns.len()];
        for (key, value) in &object.0 {
            if key.eq_ignore_ascii_case(&id) && value.get().starts_with(['[', '{']) {
                return Err(self
                    .fault(format!("its {id} is a list or an object"))
                    .with_way_out("write one object for each image"));
            }
            let value = text(value).map_err(|cause| self.fault(cause))?;
            if key.eq_ignore_ascii_case(&id) {
                guid = value;
            } else if let Some(place) = self.place(key)? {
                others.resize(self.incoming.columns.len(), None);
                others[place] = value;
            }
        }
        self.add_row(guid.as_deref(), &others)
    }

    /// The key of the ids: the one of that name, or the only one that any entry has.
    fn id_key(&mut self, object: &Object<'_>) -> Result<String> {
        let wanted = &self.incoming.tables.id;
        let has_wanted = object.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(wanted));
        let known = match &self.id {
            Some((id, true)) => return Ok(id.clone()),
            Some((id, false)) => Some(id.clone()),
            None => None,
        };
        if known.is_none() && (has_wanted || object.0.is_empty()) {
            self.id = has_wanted.then(|| (wanted.clone(), true));
            return Ok(wanted.clone());
        }
        let only = match &object.0[..] {
            [(key, _)] if known.as_ref().is_none_or(|known| known.eq_ignore_ascii_case(key)) => key.to_string(),
            [] => known.unwrap_or_default(),
            keys => {
                let keys: Vec<String> = keys.iter().map(|(key, _)| key.to_string()).chain(known).collect();
                return Err(no_column(self.source, wanted, &keys));
            }
        };
        self.id = Some((only.clone(), false));
        Ok(only)
    }

    /// Where the value of a key goes.
    fn place(&mut self, key: &str) -> Result<Option<usize>> {
        let own = key.to_lowercase();
        if let Some(place) = self.places.get(&own) {
            return Ok(*place);
        }
        let room = self.incoming.has_room(key) && !key.is_empty();
        let place = room.then_some(self.incoming.columns.len());
        if room {
            self.incoming.widen(key).map_err(|cause| self.fault(cause))?;
        } else {
            self.incoming.leave(key);
        }
        self.places.insert(own, place);
        Ok(place)
    }
}

/// What a value says: a text itself, anything else as it was written; null is none.
fn text(value: &RawValue) -> serde_json::Result<Option<Cow<'_, str>>> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => Ok(Some(Cow::Owned(serde_json::from_str(text)?))),
        other => Ok(Some(Cow::Borrowed(other))),
    }
}

impl<'j> Visitor<'j> for &mut Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of entries")
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut entries: A) -> std::result::Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<Box<RawValue>>()? {
            self.add(&entry).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

impl<'j> serde::Deserialize<'j> for Object<'j> {
    fn deserialize<D: serde::Deserializer<'j>>(object: D) -> std::result::Result<Self, D::Error> {
        struct Fields;
        impl<'j> Visitor<'j> for Fields {
            type Value = Object<'j>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(key) = map.next_key_seed(Key)? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Object(fields))
            }
        }
        object.deserialize_map(Fields)
    }
}

/// A key, borrowed where nothing in it is escaped.
struct Key;

impl<'j> DeserializeSeed<'j> for Key {
    type Value = Cow<'j, str>;

    fn deserialize<D: serde::Deserializer<'j>>(self, key: D) -> std::result::Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'j> Visitor<'j> for Key {
    type Value = Cow<'j, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'j str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
