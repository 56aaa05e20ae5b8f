//! Determines the language of a text: the platform's language, or else a detected one.

use whatlang::Lang;

use super::entities::Entity;
use super::stop_words::most_stop_words;

/// The minimum confidence, 0 to 1, of the detection by letters, unless the stop words give the same
/// language. A lower value finds the language of more short texts, and a wrong one for more of
/// them; see the measurement in ARCHITECTURE.md.
const CONFIDENCE_MIN: f64 = 0.5;

/// The number of bytes of a text that are examined. With more the detection is slower, and hardly
/// more reliable.
const DETECTED_BYTES_MAX: usize = 1_000;

/// The language that a platform gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenLanguage {
    /// The platform names the language.
    Named(LanguageCode),
    /// The platform says that the text has no language: only links or mentions.
    NoLanguage,
    /// The platform gives no language.
    Unknown,
}

/// A primary language of BCP 47, in lower case: 2 to 8 letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LanguageCode {
    letters: [u8; 8],
    length: u8,
}

impl LanguageCode {
    /// Returns the primary language of a tag such as `en-GB`.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?.as_bytes();
        if !(2..=8).contains(&primary.len()) || !primary.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        let mut letters = [0; 8];
        letters[..primary.len()].copy_from_slice(primary);
        letters.make_ascii_lowercase();
        Some(Self { letters, length: primary.len() as u8 }.renamed())
    }

    fn new(code: &str) -> Option<Self> {
        Self::of_tag(code)
    }

    /// Returns the current code for a replaced one, which X still uses.
    fn renamed(self) -> Self {
        let today = match self.as_str() {
            "in" => "id",
            "iw" => "he",
            "ji" => "yi",
            "jw" => "jv",
            _ => return self,
        };
        Self::new(today).unwrap_or(self)
    }

    /// Returns the letters.
    pub(crate) fn as_str(&self) -> &str {
        let letters = &self.letters[..usize::from(self.length)];
        std::str::from_utf8(letters).expect("only ASCII letters are taken")
    }
}

/// Returns the language of the first tag that a platform gives.
pub(crate) fn given_language(tag: Option<&str>) -> GivenLanguage {
    let Some(code) = tag.and_then(LanguageCode::of_tag) else { return GivenLanguage::Unknown };
    match code.as_str() {
        // X's own codes, for texts that only have mentions, cashtags, hashtags, links or media, and
        // for short texts.
        "qam" | "qct" | "qht" | "qlk" | "qme" | "qst" | "zxx" => GivenLanguage::NoLanguage,
        "und" | "mul" | "mis" | "art" | "unknown" => GivenLanguage::Unknown,
        _ => GivenLanguage::Named(code),
    }
}

/// Detects the language of a text without its entities; `None` if it isn't certain.
pub(crate) fn detect_language(
    text: &str,
    entities: &[Entity],
    words: &mut String,
) -> Option<LanguageCode> {
    words.clear();
    let mut from = 0;
    for entity in entities {
        words.push_str(&text[from..entity.range.start]);
        from = entity.range.end;
        if words.len() > DETECTED_BYTES_MAX {
            break;
        }
    }
    if words.len() <= DETECTED_BYTES_MAX {
        words.push_str(&text[from..]);
    }
    words.truncate(words.floor_char_boundary(DETECTED_BYTES_MAX));
    let detected = whatlang::detect(words)?;
    let lang = detected.lang();
    let code = two_letters(lang);
    let is_only_one_of_script = detected.script().langs() == [lang];
    let is_sure = is_only_one_of_script
        || detected.confidence() >= CONFIDENCE_MIN
        || most_stop_words(words) == Some(code);
    if is_sure { LanguageCode::new(code) } else { None }
}

/// Returns the code of ISO 639-1, or another code if it has none.
fn two_letters(lang: Lang) -> &'static str {
    match lang.code() {
        "afr" => "af",
        "aka" => "ak",
        "amh" => "am",
        "ara" => "ar",
        "aze" => "az",
        "bel" => "be",
        "ben" => "bn",
        "bul" => "bg",
        "cat" => "ca",
        "ces" => "cs",
        "cmn" => "zh",
        "cym" => "cy",
        "dan" => "da",
        "deu" => "de",
        "ell" => "el",
        "eng" => "en",
        "epo" => "eo",
        "est" => "et",
        "fin" => "fi",
        "fra" => "fr",
        "guj" => "gu",
        "heb" => "he",
        "hin" => "hi",
        "hrv" => "hr",
        "hun" => "hu",
        "hye" => "hy",
        "ind" => "id",
        "ita" => "it",
        "jav" => "jv",
        "jpn" => "ja",
        "kan" => "kn",
        "kat" => "ka",
        "khm" => "km",
        "kor" => "ko",
        "lat" => "la",
        "lav" => "lv",
        "lit" => "lt",
        "mal" => "ml",
        "mar" => "mr",
        "mkd" => "mk",
        "mya" => "my",
        "nep" => "ne",
        "nld" => "nl",
        "nob" => "no",
        "ori" => "or",
        "pan" => "pa",
        "pes" => "fa",
        "pol" => "pl",
        "por" => "pt",
        "ron" => "ro",
        "rus" => "ru",
        "sin" => "si",
        "slk" => "sk",
        "slv" => "sl",
        "sna" => "sn",
        "spa" => "es",
        "srp" => "sr",
        "swe" => "sv",
        "tam" => "ta",
        "tel" => "te",
        "tgl" => "tl",
        "tha" => "th",
        "tuk" => "tk",
        "tur" => "tr",
        "ukr" => "uk",
        "urd" => "ur",
        "uzb" => "uz",
        "vie" => "vi",
        "yid" => "yi",
        "zul" => "zu",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::entities::find_entities;
    use super::*;

    fn detected(text: &str) -> Option<String> {
        let mut entities = Vec::new();
        find_entities(text, &mut entities);
        let language = detect_language(text, &entities, &mut String::new());
        language.map(|language| language.as_str().to_owned())
    }

    #[test]
    fn what_a_platform_gives_is_a_primary_language() {
        let given = |tag: &str| match given_language(Some(tag)) {
            GivenLanguage::Named(code) => code.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        for (tag, expected) in [
            ("en", "en"),
            ("EN-GB", "en"),
            ("zh_Hant", "zh"),
            ("in", "id"),
            ("iw", "he"),
            ("und", "Unknown"),
            ("qme", "NoLanguage"),
            ("zxx", "NoLanguage"),
            ("", "Unknown"),
            ("e", "Unknown"),
            ("e1", "Unknown"),
            ("englishlanguage", "Unknown"),
        ] {
            assert_eq!(given(tag), expected, "{tag}");
        }
        assert_eq!(given_language(None), GivenLanguage::Unknown);
    }

    #[test]
    fn a_language_is_told_from_the_words_alone() {
        for (text, expected) in [
            ("The storm came over the sea in the night, and nobody saw it", Some("en")),
            ("Der Sturm kam in der Nacht über das Meer, und niemand sah ihn", Some("de")),
            ("La tormenta llegó por la noche desde el mar y nadie la vio", Some("es")),
            ("Буря пришла ночью с моря, и никто её не видел", Some("ru")),
            ("嵐は夜に海からやって来た", Some("ja")),
            ("폭풍이 밤에 바다에서 왔다", Some("ko")),
            ("อากาศดีมากวันนี้", Some("th")),
            ("@ann #storm https://example.org/the/storm/came/over/the/sea", None),
            ("12 34 !!! 😀", None),
            ("", None),
        ] {
            assert_eq!(detected(text).as_deref(), expected, "{text}");
        }
    }
}
