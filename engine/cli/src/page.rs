//! Self-contained HTML pages: the shell, the styles, and the picture cards both pages share.

use std::fmt::Write as _;

/// One result as a card: a picture where its bytes are known, otherwise its text.
pub struct Card<'a> {
    /// The encoded picture (PNG, JPEG or WebP), when it is at hand.
    pub picture: Option<&'a [u8]>,
    /// What stands below the picture.
    pub caption: &'a str,
    /// Hamming distance to the query.
    pub distance: u32,
    /// Length of a code: what the distance is out of.
    pub bits: u32,
}

/// Writes the whole document around `body`, which must already be HTML.
pub fn document(title: &str, lead: &str, body: &str, footer: &str) -> String {
    let (title, lead) = (escape(title), escape(lead));
    let style = include_str!("page.css");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"brand\">TWINBIT</p>\n<h1>{title}</h1>\n<p class=\"lead\">{lead}</p>\n</header>\n\
         {body}\n<footer>\n{footer}\n</footer>\n</main>\n</body>\n</html>\n"
    )
}

/// Writes one query with its results as a strip of cards.
///
/// `class` is put on the list: `photos` gives larger pictures, five in a row.
pub fn query_block(title: &str, note: &str, class: &str, cards: &[Card<'_>]) -> String {
    let mut html = format!("<section class=\"query\">\n<h3>{}", escape(title));
    if !note.is_empty() {
        let _ = write!(html, "<small>{}</small>", escape(note));
    }
    let _ = writeln!(html, "</h3>\n<ol class=\"hits {}\">", escape(class));
    for card in cards {
        html.push_str(&card_item(card));
    }
    if cards.is_empty() {
        html.push_str("<li>No record is within reach of this query.</li>\n");
    }
    html.push_str("</ol>\n</section>\n");
    html
}

fn card_item(card: &Card<'_>) -> String {
    let caption = escape(card.caption);
    let picture = match card.picture.and_then(data_uri) {
        Some(uri) => format!("<img src=\"{uri}\" alt=\"{caption}\" loading=\"lazy\">"),
        None => "<div class=\"none\">no picture</div>".to_owned(),
    };
    let share = 100.0 * f64::from(card.distance) / f64::from(card.bits.max(1));
    format!(
        "<li>{picture}<div class=\"distance\" title=\"{distance} of {bits} bits differ\">\
         <span class=\"meter\"><i style=\"width:{share:.1}%\"></i></span><span class=\"number\">{distance}</span></div>\
         <p title=\"{caption}\">{caption}</p></li>\n",
        distance = card.distance,
        bits = card.bits,
    )
}

/// Replaces the characters that HTML gives a meaning, in text and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A control character has no place in a page; the replacement character shows that one was there.
            other if other.is_control() && !other.is_whitespace() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// An encoded picture as a `data:` address, or nothing when it is no PNG, JPEG or WebP.
pub fn data_uri(picture: &[u8]) -> Option<String> {
    let kind = match picture {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", base64(picture)))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0_u8; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                let digit = (word >> (18 - 6 * place)) & 63;
                encoded.push(char::from(ALPHABET[digit as usize]));
            } else {
                encoded.push('=');
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn text_cannot_open_a_tag_or_leave_an_attribute() {
        assert_eq!(escape("<b a=\"x\" b='y'>&\u{1}"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}");
        let html = query_block("<script>", "\"", "", &[]);
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn a_file_that_is_no_picture_gets_no_address() {
        assert_eq!(data_uri(b"<svg onload=alert(1)>"), None);
        assert!(
            data_uri(&[0xff, 0xd8, 0xff, 0xe0])
                .is_some_and(|uri| uri.starts_with("data:image/jpeg;base64,/9j/"))
        );
    }
}
