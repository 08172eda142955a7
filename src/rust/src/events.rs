//! Events as a data frame, built once: R would check and copy each column.

use extendr_api::prelude::*;
use mxcrypt_core::{
    judgement::{
        members::Members,
        relation::{THREAD, target_in},
        trust::Trust,
        utd_reason::UtdReason,
    },
    machine::Handed,
    primitives::canonical_json::Json,
    store::records::KeySource,
};

use crate::{
    answer::{record, strings},
    json::to_r,
};

/// Messages that bring a file: only these have a file name in R.
const MEDIA: [&str; 4] = ["m.file", "m.image", "m.video", "m.audio"];

/// An event, and its content without those of its members that no reader of JSON takes: nested too deeply, or
/// of two meanings.
struct Row<'a> {
    handed: &'a Handed,
    content: Json,
}

impl<'a> Row<'a> {
    fn of(handed: &'a Handed) -> Self {
        let text = &handed.event.content;
        let content = Json::parse_object(text).unwrap_or_else(|_| {
            let members = Members::read(text).unwrap_or_default();
            let parsed = members.0.into_iter().map(|(name, text)| (name, Json::parse(text.get())));
            parsed.filter_map(|(name, json)| Some((name, json.ok()?))).collect()
        });
        Self { handed, content: Json::Object(content) }
    }

    fn is_readable(&self) -> bool {
        self.handed.event.unreadable.is_none()
    }

    /// Text of the content, where the event could be read.
    fn text(&self, path: &[&str]) -> Option<&str> {
        member(&self.content, path).and_then(Json::as_str).filter(|_| self.is_readable())
    }

    fn is_media(&self) -> bool {
        self.text(&["msgtype"]).is_some_and(|msgtype| MEDIA.contains(&msgtype))
    }

    /// Specification: "m.room.message msgtypes". HTML of an unknown format is none.
    fn html(&self) -> Option<&str> {
        let is_html = self.text(&["format"]) == Some("org.matrix.custom.html");
        self.text(&["formatted_body"]).filter(|_| is_html && self.text(&["msgtype"]).is_some())
    }

    /// Specification: "Media captions": `body` is a caption if there is a `filename` that differs.
    fn filename(&self) -> Option<&str> {
        self.text(&["filename"]).or_else(|| self.text(&["body"])).filter(|_| self.is_media())
    }

    fn caption(&self) -> Option<&str> {
        let filename = self.text(&["filename"])?;
        self.text(&["body"]).filter(|body| self.is_media() && *body != filename)
    }

    fn mimetype(&self) -> Option<&str> {
        self.text(&["info", "mimetype"]).filter(|_| self.is_media())
    }

    fn size(&self) -> Option<f64> {
        let size = match member(&self.content, &["info", "size"])? {
            Json::Integer(size) => *size as f64,
            Json::Float(size) => *size,
            _ => return None,
        };
        Some(size).filter(|size| *size >= 0.0 && self.is_media())
    }

    fn mentions(&self) -> impl Iterator<Item = &str> {
        let users = member(&self.content, &["m.mentions", "user_ids"]).and_then(Json::as_array);
        users.unwrap_or_default().iter().filter_map(Json::as_str)
    }
}

fn member<'a>(json: &'a Json, path: &[&str]) -> Option<&'a Json> {
    path.iter().try_fold(json, |json, name| json.as_object()?.get(*name))
}

/// A data frame of class `mx_events`, with the columns in the order in which R shows them.
pub(crate) fn frame(handed: &[Handed]) -> Robj {
    frame_as(handed, Form::Nested)
}

/// How the columns that are no vectors of one type look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lists and factors.
    Nested,
    /// Text, as `as.data.frame(flat = TRUE)` makes it, and a plain data frame.
    Flat,
}

/// The same in either form.
pub(crate) fn frame_as(handed: &[Handed], form: Form) -> Robj {
    let rows: Vec<Row<'_>> = handed.iter().map(Row::of).collect();
    let texts = |pick: fn(&Handed) -> Option<&str>| strings(handed.iter().map(pick));
    let flags = |pick: fn(&Handed) -> bool| handed.iter().map(pick).collect::<Vec<bool>>().into();
    let content = |pick: for<'r> fn(&'r Row<'_>) -> Option<&'r str>| strings(rows.iter().map(pick));
    let relation = |row: &Row<'_>| member(&row.content, &["m.relates_to"]).cloned();
    let threads: Vec<Option<String>> =
        handed.iter().map(|row| target_in(&row.event.content, THREAD)).collect();
    let mut frame = record([
        ("room_id", texts(|row| Some(&row.event.room_id))),
        ("event_id", texts(|row| row.event.event_id.as_deref())),
        ("type", texts(|row| Some(&row.event.event_type))),
        ("sender", texts(|row| Some(&row.event.sender))),
        ("origin_server_ts", times(handed)),
        ("body", content(|row| row.text(&["body"]))),
        ("msgtype", content(|row| row.text(&["msgtype"]))),
        ("content", json(rows.iter().map(|row| Some(row.content.clone())), form)),
        ("relates_to", json(rows.iter().map(relation), form)),
        ("encrypted", flags(|row| row.event.encrypted)),
        ("decrypted", flags(|row| row.event.encrypted && row.event.unreadable.is_none())),
        ("utd_reason", texts(|row| Some(&row.event.unreadable.as_ref()?.code))),
        ("trust", levels(handed, form)),
        ("sender_verified", flags(|row| row.trust == Trust::Verified)),
        ("session_id", texts(|row| row.event.session_id.as_deref())),
        ("is_self", flags(|row| row.is_self)),
        ("mentions", mentions(&rows, form)),
        ("state_key", texts(|row| row.event.state_key.as_deref())),
        ("redacted", flags(|row| row.event.redacted)),
        ("redacts", texts(|row| row.event.redacts.as_deref())),
        ("utd_message", texts(|row| Some(&row.event.unreadable.as_ref()?.message))),
        (
            "utd_help",
            texts(|row| Some(UtdReason::help_of_code(&row.event.unreadable.as_ref()?.code))),
        ),
        ("key_source", texts(|row| row.event.key_source.map(KeySource::as_str))),
        ("forwarder", texts(|row| row.event.forwarder.as_deref())),
        ("replaces", texts(|row| row.replaces.as_deref())),
        ("edited", flags(|row| row.edit.is_some())),
        ("edit_reason", texts(|row| row.edit_reason.as_deref())),
        ("thread", strings(threads.iter().map(Option::as_deref))),
        ("thread_latest", latest(handed, form)),
        ("formatted_body", content(|row| row.html())),
        ("filename", content(|row| row.filename())),
        ("mimetype", content(|row| row.mimetype())),
        ("size", rows.iter().map(Row::size).collect::<Vec<Option<f64>>>().into()),
        ("caption", content(|row| row.caption())),
    ]);
    // R's short form of the row names 1 to n.
    let n = i32::try_from(handed.len()).unwrap_or(i32::MAX);
    let names: Robj = if n == 0 { Vec::<i32>::new().into() } else { [i32::MIN, -n].into() };
    let class = match form {
        Form::Nested => ["mx_events", "data.frame"].into(),
        Form::Flat => "data.frame".into(),
    };
    with_attributes(&mut frame, [("row.names", names), ("class", class)])
}

/// Values of JSON.
fn json(values: impl Iterator<Item = Option<Json>>, form: Form) -> Robj {
    match form {
        Form::Nested => {
            let shown = values.map(|value| value.as_ref().map_or_else(|| ().into(), to_r));
            List::from_values(shown.collect::<Vec<Robj>>()).into()
        }
        Form::Flat => {
            let texts: Vec<_> = values.map(|value| value?.text().ok()).collect();
            strings(texts.iter().map(Option::as_deref))
        }
    }
}

fn mentions(rows: &[Row<'_>], form: Form) -> Robj {
    match form {
        Form::Nested => {
            List::from_values(rows.iter().map(|row| strings(row.mentions().map(Some)))).into()
        }
        Form::Flat => {
            let text = |id: &str| Json::String(id.to_owned());
            json(rows.iter().map(|row| Some(Json::Array(row.mentions().map(text).collect()))), form)
        }
    }
}

/// The newest message of a thread, or its id.
fn latest(handed: &[Handed], form: Form) -> Robj {
    let latest = handed.iter().map(|row| row.latest_in_thread.as_deref());
    match form {
        Form::Nested => {
            let frame = |latest: Option<&Handed>| latest.map_or_else(|| ().into(), frame_of_one);
            List::from_values(latest.map(frame).collect::<Vec<Robj>>()).into()
        }
        Form::Flat => strings(latest.map(|latest| latest?.event.event_id.as_deref())),
    }
}

fn frame_of_one(handed: &Handed) -> Robj {
    frame(std::slice::from_ref(handed))
}

/// POSIXct. What has no time, such as an invitation, has none in R either.
fn times(handed: &[Handed]) -> Robj {
    let seconds = handed.iter().map(|row| Some(row.event.origin_server_ts as f64 / 1000.0));
    let seconds = seconds.map(|time| time.filter(|time| *time >= 0.0));
    let mut times: Robj = seconds.collect::<Vec<Option<f64>>>().into();
    with_attributes(&mut times, [("class", ["POSIXct", "POSIXt"].into()), ("tzone", "UTC".into())])
}

/// The ordered factor of trust, or its names.
fn levels(handed: &[Handed], form: Form) -> Robj {
    if form == Form::Flat {
        return strings(handed.iter().map(|row| Some(row.trust.as_str())));
    }
    let level = |row: &Handed| Trust::LEVELS.iter().position(|level| *level == row.trust);
    let codes = handed.iter().map(|row| level(row).and_then(|at| i32::try_from(at + 1).ok()));
    let mut codes: Robj = codes.collect::<Vec<Option<i32>>>().into();
    let names = Trust::LEVELS.map(Trust::as_str);
    with_attributes(
        &mut codes,
        [("levels", names.into()), ("class", ["mx_trust", "ordered", "factor"].into())],
    )
}

fn with_attributes<const N: usize>(value: &mut Robj, attributes: [(&str, Robj); N]) -> Robj {
    for (name, attribute) in attributes {
        // Setting them on a fresh vector cannot fail.
        let _ = value.set_attrib(name, attribute);
    }
    value.clone()
}

/// The data frame of no events.
#[extendr]
fn events_none() -> Robj {
    frame(&[])
}

extendr_module! {
    mod events;
    fn events_none;
}
