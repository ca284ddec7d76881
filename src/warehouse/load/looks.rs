//! How entries look: whether the first is the name of the rest, and whether they are GUIDs at all.

use super::super::Window;
use super::super::tables::quote;
use super::incoming::Incoming;

/// So many entries say what the others look like.
const SAMPLE: usize = 1_000;
/// So few entries may have something in common by accident.
const FEW: u64 = 10;

/// Something that all GUIDs of a list may have in common, and its header has not.
type Trait = fn(&str) -> bool;

const TRAITS: [(Trait, u64); 3] = [
    (is_uuid, 1),
    (|entry| entry.bytes().all(|byte| byte.is_ascii_digit()), 2),
    (|entry| entry.bytes().any(|byte| byte.is_ascii_digit()), FEW),
];

fn is_uuid(entry: &str) -> bool {
    let entry = entry.trim_matches(['{', '}']).as_bytes();
    let fits = |(place, byte): (usize, &u8)| match place {
        8 | 13 | 18 | 23 if entry.len() == 36 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    matches!(entry.len(), 32 | 36) && entry.iter().enumerate().all(fits)
}

/// Finds out whether the first entry of a list is of another kind than all others.
pub(super) struct Heading {
    first: String,
    rest: Option<u64>,
    /// Which traits all others have so far.
    common: [bool; TRAITS.len()],
}

impl Heading {
    /// Of a list that begins with this entry.
    pub(super) fn new(first: &str) -> Self {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.');
        let name = first.len() <= 100 && first.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let name = name && first.chars().all(word);
        Self { first: first.to_owned(), rest: None, common: TRAITS.map(|(has, _)| name && !has(first)) }
    }

    /// Looks at an entry; the first call is for the first.
    pub(super) fn compare(&mut self, entry: &str) {
        let Some(rest) = &mut self.rest else {
            self.rest = Some(0);
            return;
        };
        *rest += 1;
        for (common, (has, _)) in self.common.iter_mut().zip(TRAITS) {
            *common = *common && has(entry);
        }
    }

    /// Whether the entries to come may still show that the first is a header.
    pub(super) fn is_open(&self) -> bool {
        self.common.contains(&true)
    }

    /// The first entry, if it is a header.
    pub(super) fn name(&self) -> Option<&str> {
        let rest = self.rest.unwrap_or_default();
        let stands = self.common.iter().zip(TRAITS).any(|(common, (_, least))| *common && rest >= least);
        stands.then_some(self.first.as_str())
    }
}

/// What entries look like that are no GUIDs, and what to do.
const STRANGE: [(Trait, &str); 4] = [
    (
        |entry| entry.contains("://"),
        "are URLs and no GUIDs; load GUID and URL as two columns of a CSV, and fetch with --url-column",
    ),
    (|entry| entry.contains(','), "hold a comma; if it is a CSV, load it under a name that ends in .csv"),
    (|entry| entry.contains('\t'), "hold a tab; if it is a TSV, load it under a name that ends in .tsv"),
    (
        is_picture,
        "end like files of pictures; unless the URL is to hold that ending twice, cut it off, or fetch with --extension '' and a template that ends in {guid}",
    ),
];

fn is_picture(entry: &str) -> bool {
    let known = ["jpg", "jpeg", "png", "gif", "webp", "avif", "bmp", "tif", "tiff"];
    entry.rsplit_once('.').is_some_and(|(_, extension)| known.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// Says that entries are obviously no GUIDs, unless those of the table look the same.
pub(super) fn strange(incoming: &Incoming<'_>, window: &Window<'_>, exists: bool) -> duckdb::Result<Option<String>> {
    let sample = |sql: &str| -> duckdb::Result<Vec<String>> {
        let mut statement = window.connection.prepare(&format!("{sql} LIMIT {SAMPLE}"))?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let (table, id) = incoming.place();
    let entries = sample(&format!("SELECT {id} FROM {table} WHERE {id} IS NOT NULL"))?;
    let look = STRANGE.iter().find(|(has, _)| !entries.is_empty() && entries.iter().all(|entry| has(entry)));
    let Some((has, words)) = look else { return Ok(None) };
    if exists {
        let (id, table) = (quote(&incoming.tables.id), window.quoted(&incoming.tables.table));
        let known = sample(&format!("SELECT {id}::VARCHAR FROM {table} WHERE {id} IS NOT NULL"))?;
        if !known.is_empty() && known.iter().all(|known| has(known)) {
            return Ok(None);
        }
    }
    Ok(Some(format!("its entries {words}")))
}
