//! The demonstration's results: as JSON, and as a page with the pictures found.

use std::fmt::Write as _;

use serde::Serialize;

use crate::output::count;
use crate::page::{self, Card, data_uri, escape};

/// Everything that the demonstration found out.
#[derive(Serialize)]
pub struct Report {
    /// Pairs of the whole set.
    pub pairs: usize,
    /// Pairs trained on and stored.
    pub stored: usize,
    /// Pairs kept out of both: the queries of the evaluation.
    pub held_out: usize,
    /// Bits of a code.
    pub bits: u32,
    /// Mean over the groups.
    pub map: Map,
    /// The same, group by group.
    pub groups: Vec<GroupScore>,
    /// What each step took.
    pub steps: Vec<Step>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Texts asked for, with the pictures found.
    pub texts: Vec<TextQuery>,
    /// Pictures asked for, with the texts found.
    pub pictures: Vec<PictureQuery>,
    /// Choices that decide the figures.
    pub settings: Vec<Setting>,
    /// Folder of the database.
    pub database: String,
    /// Where the page is.
    pub report: String,
}

/// Mean average precision both ways beside that of a random order.
#[derive(Clone, Copy, Serialize)]
pub struct Map {
    /// Pictures as queries.
    pub image_to_text: f64,
    /// Texts as queries.
    pub text_to_image: f64,
    /// Expected value for a random order of the same database.
    pub chance: f64,
}

/// The scores of one group's queries.
#[derive(Serialize)]
pub struct GroupScore {
    /// The group's name.
    pub group: String,
    /// Number of queries each way.
    pub queries: usize,
    /// Records of this group in the database.
    pub relevant: usize,
    /// The scores.
    #[serde(flatten)]
    pub map: Map,
}

/// One step of the work.
#[derive(Serialize)]
pub struct Step {
    /// What was done.
    pub step: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// How much of it, in words.
    pub amount: String,
}

/// A text and the pictures nearest to it.
#[derive(Serialize)]
pub struct TextQuery {
    /// The text asked for.
    pub text: String,
    /// What the stored texts know of its words.
    pub note: String,
    /// Nearest first.
    pub hits: Vec<Found>,
}

/// A picture and the texts nearest to it.
#[derive(Serialize)]
pub struct PictureQuery {
    /// Name of the picture asked for, which is not in the database.
    pub name: &'static str,
    /// Its group.
    #[serde(skip)]
    pub group: u32,
    /// The picture.
    #[serde(skip)]
    pub picture: &'static [u8],
    /// Nearest first.
    pub hits: Vec<Found>,
}

/// A record found.
#[derive(Serialize)]
pub struct Found {
    /// Its id: the emoji's name.
    pub id: String,
    /// Hamming distance to the query.
    pub distance: u32,
    /// Its group.
    #[serde(skip)]
    pub group: Option<u32>,
    /// Its picture.
    #[serde(skip)]
    pub picture: Option<&'static [u8]>,
}

/// A choice and its value.
#[derive(Serialize)]
pub struct Setting {
    /// What was chosen.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

impl Report {
    /// The page, complete in itself.
    pub fn html(&self) -> String {
        let lead = format!(
            "{} emoji pictures and their names, turned into codes of {} bits by two small networks \
             that learned from the pairs alone: no labels, no network connection, {:.0} seconds on this machine.",
            count(self.pairs as u64),
            self.bits,
            self.seconds,
        );
        let body = [self.facts(), self.text_queries(), self.picture_queries(), self.scores(), self.account()]
            .concat();
        let footer = "<p>Graphics: Twemoji, Copyright Twitter, Inc and other contributors, \
             <a href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>.</p>\n\
             <p>Names, shortcodes and groups: Unicode and gemoji, through the crate <code>emojis</code>. \
             Picture features: EfficientNet-Lite0 (Apache-2.0). Method: Hu and others, \
             <a href=\"https://doi.org/10.1109/TPAMI.2022.3177356\">Unsupervised Contrastive Cross-modal Hashing</a>, \
             IEEE TPAMI 2023.</p>";
        page::document("Pictures found by words, words by pictures", &lead, &body, footer)
    }

    fn facts(&self) -> String {
        let fact = |value: String, meaning: &str| format!("<li><b>{value}</b><span>{meaning}</span></li>\n");
        let mut html = "<ul class=\"facts\">\n".to_owned();
        html += &fact(count(self.stored as u64), "pairs trained on and stored");
        html += &fact(
            format!("{} bits", self.bits),
            &format!("a code: {} bytes a picture or text", self.bits / 8),
        );
        html += &fact(format!("{:.3}", self.map.image_to_text), "MAP, a picture finds texts");
        html += &fact(format!("{:.3}", self.map.text_to_image), "MAP, a text finds pictures");
        html += &fact(format!("{:.3}", self.map.chance), "MAP of a random order");
        html + "</ul>\n"
    }

    fn text_queries(&self) -> String {
        let mut html =
            "<h2>A text finds pictures</h2>\n<p>Only the pictures' codes are compared, never their names. \
             The number is the Hamming distance: in how many bits two codes differ.</p>\n"
                .to_owned();
        for query in &self.texts {
            let cards: Vec<Card<'_>> = query
                .hits
                .iter()
                .map(|hit| Card {
                    picture: hit.picture,
                    caption: &hit.id,
                    distance: hit.distance,
                    bits: self.bits,
                })
                .collect();
            html += &page::query_block(&query.text, &query.note, "", &cards);
        }
        html
    }

    fn picture_queries(&self) -> String {
        let mut html = "<h2>A picture finds texts</h2>\n<p>These pictures were kept out of training and out of the \
             database: the names they find belong to other pictures. Names from the same group stand out.</p>\n\
             <div class=\"pictures\">\n"
            .to_owned();
        for query in &self.pictures {
            let (name, uri) = (escape(query.name), data_uri(query.picture).unwrap_or_default());
            let _ = writeln!(
                html,
                "<section class=\"picture\"><div><img src=\"{uri}\" alt=\"{name}\"><h3>{name}</h3></div>\n<ol>"
            );
            for hit in &query.hits {
                let class = if hit.group == Some(query.group) { " class=\"same\"" } else { "" };
                let (id, distance) = (escape(&hit.id), hit.distance);
                let _ = writeln!(
                    html,
                    "<li{class}><span title=\"{id}\">{id}</span><span class=\"number\">{distance}</span></li>"
                );
            }
            html += "</ol></section>\n";
        }
        html + "</div>\n"
    }

    fn scores(&self) -> String {
        let mut html = format!(
            "<h2>How good is it?</h2>\n<p>{} pairs were held out. Each of their pictures ranks all stored texts, each \
             of their texts all stored pictures; a record counts as right when it is of the same group. Mean average \
             precision, beside its expected value for a random order.</p>\n<div class=\"sheet\"><table>\n<thead><tr>\
             <th>Group</th><th class=\"number\">Queries</th><th class=\"number\">Picture to text</th>\
             <th class=\"number\">Text to picture</th><th class=\"number\">Chance</th><th class=\"bars\"></th></tr></thead>\n<tbody>\n",
            count(self.held_out as u64),
        );
        for score in &self.groups {
            html += &score_row(&score.group, score.queries, score.map);
        }
        let mean = score_row("Mean over the groups", self.held_out, self.map);
        let _ = write!(html, "</tbody>\n<tfoot>\n{mean}</tfoot>\n</table></div>\n");
        html
    }

    fn account(&self) -> String {
        let mut html =
            "<div class=\"columns\">\n<div><h2>Time</h2>\n<div class=\"sheet\"><table><tbody>\n".to_owned();
        for step in &self.steps {
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.1} s</td></tr>",
                escape(step.step),
                escape(&step.amount),
                step.seconds
            );
        }
        let _ = write!(
            html,
            "</tbody><tfoot><tr><td>All</td><td></td><td class=\"number\">{:.1} s</td></tr></tfoot></table></div></div>\n\
             <div><h2>Settings</h2>\n<div class=\"sheet\"><table><tbody>\n",
            self.seconds
        );
        for setting in &self.settings {
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td></tr>",
                escape(setting.name),
                escape(&setting.value)
            );
        }
        html + "</tbody></table></div></div>\n</div>\n"
    }
}

fn score_row(name: &str, queries: usize, map: Map) -> String {
    let percent = |score: f64| (100.0 * score).clamp(0.0, 100.0);
    format!(
        "<tr><td>{}</td><td class=\"number\">{queries}</td><td class=\"number\">{:.3}</td><td class=\"number\">{:.3}</td>\
         <td class=\"number\">{:.3}</td><td class=\"bars\"><i style=\"width:{:.1}%\"></i>\
         <i class=\"second\" style=\"width:{:.1}%\"></i><i class=\"chance\" style=\"width:{:.1}%\"></i></td></tr>\n",
        escape(name),
        map.image_to_text,
        map.text_to_image,
        map.chance,
        percent(map.image_to_text),
        percent(map.text_to_image),
        percent(map.chance),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let map = Map { image_to_text: 0.5, text_to_image: 0.25, chance: 0.125 };
        let picture: &'static [u8] = b"\x89PNG";
        let found = || Found { id: "a <b>".into(), distance: 3, group: Some(1), picture: Some(picture) };
        Report {
            pairs: 10,
            stored: 9,
            held_out: 1,
            bits: 64,
            map,
            groups: vec![GroupScore { group: "G & H".into(), queries: 1, relevant: 2, map }],
            steps: vec![Step { step: "trained", seconds: 1.5, amount: "3 epochs".into() }],
            seconds: 2.0,
            texts: vec![TextQuery { text: "x\"y".into(), note: "note".into(), hits: vec![found()] }],
            pictures: vec![PictureQuery { name: "n", group: 1, picture, hits: vec![found()] }],
            settings: vec![Setting { name: "seed", value: "1".into() }],
            database: "d".into(),
            report: "r".into(),
        }
    }

    #[test]
    fn the_page_holds_pictures_scores_and_credits_and_escapes_text() {
        let html = report().html();
        for part in
            ["data:image/png;base64,", "0.125", "CC BY 4.0", "G &amp; H", "a &lt;b&gt;", "x&quot;y", "1.5 s"]
        {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("<b>\"") && !html.contains("a <b>"));
        assert!(!html.contains("src=\"http"), "the page must not load anything");
    }

    #[test]
    fn json_has_the_scores_and_leaves_the_pictures_out() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["map"]["chance"], 0.125);
        assert_eq!(json["groups"][0]["text_to_image"], 0.25);
        assert_eq!(json["texts"][0]["hits"][0], serde_json::json!({ "id": "a <b>", "distance": 3 }));
    }
}
