//! Where URLs come from, and what they say about the names of files.

use crate::error::{Error, Result};
use crate::guid::{Guid, PLACEHOLDER, UrlTemplate};
use crate::origin::parse_url;
use crate::text::without_secrets;
use crate::warehouse::UrlSource;

use super::{ExpectArg, Typed};

/// The extensions that images have.
const IMAGES: [&str; 18] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "avif", "bmp", "tif", "tiff", "jxl", "heic", "heif",
    "jp2", "ico", "svg",
];
/// An extension that still fits a file name behind the longest GUID.
const LONGEST_EXTENSION: usize = 50;

pub(super) fn urls(
    url: Option<String>,
    column: Option<String>,
    typed: &Typed,
    warnings: &mut Vec<String>,
) -> Result<UrlSource> {
    match (url, column) {
        (Some(_), Some(_)) if typed.has("url") && typed.has("url_column") => {
            Err(Error::usage("--url", "it does not go with --url-column"))
        }
        // What was typed wins over the environment.
        (url, Some(column)) if url.is_none() || typed.has("url_column") || !typed.has("url") => {
            Ok(UrlSource::Column(column))
        }
        (Some(url), _) => template(&url, warnings).map(UrlSource::Template),
        (None, _) => Ok(UrlSource::None),
    }
}

fn template(url: &str, warnings: &mut Vec<String>) -> Result<UrlTemplate> {
    // Shown without what may be secret in it.
    let shown = UrlTemplate::new(url).map_or_else(|| without_secrets(url), |template| template.as_str().to_owned());
    let error = |cause: String| Error::usage(format!("--url {shown}"), cause);
    let template = UrlTemplate::new(url).ok_or_else(|| {
        error(format!("it must contain {PLACEHOLDER}"))
            .with_way_out("such as: --url 'https://cdn.example.com/thumbs/{guid}.jpg'")
    })?;
    if !url.split(['/', '{']).next().is_some_and(|scheme| scheme.ends_with(':')) {
        return Err(error("it has no scheme".into())
            .with_way_out(format!("perhaps: --url 'https://{}'", shown.trim_start_matches('/'))));
    }
    let sample = |name: &str| {
        let guid = Guid::new(name.into()).map_err(|(_, cause)| error(cause.into()))?;
        parse_url(&template.url(&guid)).map_err(|failure| error(failure.message))
    };
    let (a, b) = (sample("a")?, sample("b")?);
    if a.authority() != b.authority() {
        return Err(error(format!("{PLACEHOLDER} must not be in the host")));
    }
    if a.scheme_str() == Some("http") {
        warnings.push(format!(
            "{shown}: http is neither private nor safe from changes on the way; use https if the origin has it"
        ));
    }
    Ok(template)
}

/// A URL of the template's origin.
pub(super) fn sample(template: &UrlTemplate) -> Option<String> {
    Guid::new("a".into()).ok().map(|guid| template.url(&guid))
}

/// The extension that the template's path gives, if it is an image's; a script's name says nothing about what it sends.
pub(super) fn extension_of(urls: &UrlSource, expect: ExpectArg, warnings: &mut Vec<String>) -> String {
    let UrlSource::Template(template) = urls else {
        if matches!(urls, UrlSource::Column(_)) {
            warnings.push("files get no extension from --url-column; --extension names one".into());
        }
        return String::new();
    };
    let extension = template.extension();
    let known = IMAGES.iter().any(|image| extension[1.min(extension.len())..].eq_ignore_ascii_case(image));
    if extension.is_empty() || known || expect == ExpectArg::Any {
        return extension.to_owned();
    }
    warnings.push(format!("{extension} in --url is no image's extension, and files get none; --extension names one"));
    String::new()
}

pub(super) fn extension(given: &str) -> Result<String> {
    let error = |cause: &str| Err(Error::usage(format!("--extension {given}"), cause));
    if given.contains(['/', '\\']) || given.chars().any(char::is_control) {
        return error("it must not hold a slash, a backslash or a control character");
    }
    if given.len() > LONGEST_EXTENSION {
        return error("it is longer than 50 bytes");
    }
    // `jpg` means `.jpg`; what begins with a sign of its own is taken as it stands.
    let bare = given.starts_with(|c: char| c.is_alphanumeric());
    Ok(if bare { format!(".{given}") } else { given.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_gets_its_dot() {
        for (given, wanted) in [("jpg", ".jpg"), (".jpg", ".jpg"), ("_small.png", "_small.png"), ("", "")] {
            assert_eq!(extension(given).as_deref(), Ok(wanted));
        }
        assert!(extension("../x").is_err());
    }

    #[test]
    fn a_template_must_be_a_url_with_the_guid_behind_the_host() {
        let mut warnings = Vec::new();
        for bad in ["https://h/x.jpg", "h/{guid}", "ftp://h/{guid}", "https://{guid}.h/x", "https:///{guid}", "{guid}"]
        {
            assert!(template(bad, &mut warnings).is_err(), "{bad}");
        }
        assert!(warnings.is_empty());
        assert!(template("http://h:80/{guid}", &mut warnings).is_ok());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let both = |typed: &[&str]| {
            let typed = Typed(typed.iter().map(|name| (*name).to_owned()).collect());
            urls(Some("https://h/{guid}".into()), Some("url".into()), &typed, &mut Vec::new())
        };
        assert!(both(&["url", "url_column"]).is_err());
        assert!(matches!(both(&["url"]), Ok(UrlSource::Template(_))));
        assert!(matches!(both(&["url_column"]), Ok(UrlSource::Column(_))));
    }
}
