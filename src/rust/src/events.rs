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

    fn mentions(&self) -> Robj {
        let users = member(&self.content, &["m.mentions", "user_ids"]).and_then(Json::as_array);
        strings(users.unwrap_or_default().iter().filter_map(Json::as_str).map(Some))
    }
}

fn member<'a>(json: &'a Json, path: &[&str]) -> Option<&'a Json> {
    path.iter().try_fold(json, |json, name| json.as_object()?.get(*name))
}

/// A data frame of class `mx_events`, with the columns in the order in which R shows them.
pub(crate) fn frame(handed: &[Handed]) -> Robj {
    let rows: Vec<Row<'_>> = handed.iter().map(Row::of).collect();
    let texts = |pick: fn(&Handed) -> Option<&str>| strings(handed.iter().map(pick));
    let flags = |pick: fn(&Handed) -> bool| handed.iter().map(pick).collect::<Vec<bool>>().into();
    let content = |pick: for<'r> fn(&'r Row<'_>) -> Option<&'r str>| strings(rows.iter().map(pick));
    let relations = rows
        .iter()
        .map(|row| member(&row.content, &["m.relates_to"]).map_or_else(|| ().into(), to_r));
    let threads: Vec<Option<String>> =
        handed.iter().map(|row| target_in(&row.event.content, THREAD)).collect();
    let latest = handed.iter().map(|row| match &row.latest_in_thread {
        Some(latest) => frame(std::slice::from_ref(latest)),
        None => ().into(),
    });
    let mut frame = record([
        ("room_id", texts(|row| Some(&row.event.room_id))),
        ("event_id", texts(|row| row.event.event_id.as_deref())),
        ("type", texts(|row| Some(&row.event.event_type))),
        ("sender", texts(|row| Some(&row.event.sender))),
        ("origin_server_ts", times(handed)),
        ("body", content(|row| row.text(&["body"]))),
        ("msgtype", content(|row| row.text(&["msgtype"]))),
        ("content", List::from_values(rows.iter().map(|row| to_r(&row.content))).into()),
        ("relates_to", List::from_values(relations).into()),
        ("encrypted", flags(|row| row.event.encrypted)),
        ("decrypted", flags(|row| row.event.encrypted && row.event.unreadable.is_none())),
        ("utd_reason", texts(|row| Some(&row.event.unreadable.as_ref()?.code))),
        ("trust", levels(handed)),
        ("sender_verified", flags(|row| row.trust == Trust::Verified)),
        ("session_id", texts(|row| row.event.session_id.as_deref())),
        ("is_self", flags(|row| row.is_self)),
        ("mentions", List::from_values(rows.iter().map(Row::mentions)).into()),
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
        ("thread_latest", List::from_values(latest).into()),
        ("formatted_body", content(|row| row.html())),
        ("filename", content(|row| row.filename())),
        ("mimetype", content(|row| row.mimetype())),
        ("size", rows.iter().map(Row::size).collect::<Vec<Option<f64>>>().into()),
        ("caption", content(|row| row.caption())),
    ]);
    // R's short form of the row names 1 to n.
    let n = i32::try_from(handed.len()).unwrap_or(i32::MAX);
    let names: Robj = if n == 0 { Vec::<i32>::new().into() } else { [i32::MIN, -n].into() };
    with_attributes(
        &mut frame,
        [("row.names", names), ("class", ["mx_events", "data.frame"].into())],
    )
}

/// POSIXct. What has no time, such as an invitation, has none in R either.
fn times(handed: &[Handed]) -> Robj {
    let seconds = handed.iter().map(|row| Some(row.event.origin_server_ts as f64 / 1000.0));
    let seconds = seconds.map(|time| time.filter(|time| *time >= 0.0));
    let mut times: Robj = seconds.collect::<Vec<Option<f64>>>().into();
    with_attributes(&mut times, [("class", ["POSIXct", "POSIXt"].into()), ("tzone", "UTC".into())])
}

/// The ordered factor of trust.
fn levels(handed: &[Handed]) -> Robj {
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
