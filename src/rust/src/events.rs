//! Events as the columns of a data frame.

use extendr_api::prelude::*;
use mxcrypt_core::{
    judgement::{
        members::Members,
        relation::{THREAD, target_in},
        utd_reason::UtdReason,
    },
    machine::Handed,
    primitives::canonical_json::{Json, Object},
    store::records::KeySource,
};

use crate::{
    answer::{record, strings},
    json::to_r,
};

/// A content, without those of its members that no reader of JSON takes: nested too deeply, or of two
/// meanings.
fn content(text: &str) -> Object {
    Json::parse_object(text).unwrap_or_else(|_| {
        let members = Members::read(text).unwrap_or_default();
        let parsed = members.0.into_iter().map(|(name, text)| (name, Json::parse(text.get())));
        parsed.filter_map(|(name, json)| Some((name, json.ok()?))).collect()
    })
}

/// The columns, in the order in which R shows them.
pub(crate) fn columns(rows: &[Handed]) -> Robj {
    let contents: Vec<Json> =
        rows.iter().map(|row| Json::Object(content(&row.event.content))).collect();
    let member =
        |content: &'_ Json, name: &str| content.as_object().and_then(|c| c.get(name).cloned());
    let text = |name: &str| {
        let texts: Vec<Option<String>> = rows
            .iter()
            .zip(&contents)
            .map(|(row, content)| {
                let readable = row.event.unreadable.is_none();
                let text = member(content, name).filter(|_| readable);
                text.and_then(|text| text.as_str().map(str::to_owned))
            })
            .collect();
        strings(texts.iter().map(Option::as_deref))
    };
    let column = |pick: fn(&Handed) -> Option<&str>| strings(rows.iter().map(pick));
    let flags = |pick: fn(&Handed) -> bool| rows.iter().map(pick).collect::<Vec<bool>>().into();
    let mentions = contents.iter().map(|content| {
        let users = member(content, "m.mentions")
            .and_then(|mentions| member(&mentions, "user_ids"))
            .and_then(|users| users.as_array().map(<[Json]>::to_vec))
            .unwrap_or_default();
        strings(users.iter().filter_map(Json::as_str).map(Some))
    });
    let relations = contents
        .iter()
        .map(|content| member(content, "m.relates_to").as_ref().map_or_else(|| ().into(), to_r));
    let threads: Vec<Option<String>> =
        rows.iter().map(|row| target_in(&row.event.content, THREAD)).collect();
    let latest = rows.iter().map(|row| match &row.latest_in_thread {
        Some(latest) => columns(std::slice::from_ref(latest)),
        None => ().into(),
    });
    record([
        ("number", rows.iter().map(|row| row.number as f64).collect::<Vec<f64>>().into()),
        ("room_id", column(|row| Some(&row.event.room_id))),
        ("event_id", column(|row| row.event.event_id.as_deref())),
        ("type", column(|row| Some(&row.event.event_type))),
        ("sender", column(|row| Some(&row.event.sender))),
        (
            "origin_server_ts",
            // What has no time, such as an invitation, has none in R either.
            rows.iter()
                .map(|row| Some(row.event.origin_server_ts as f64).filter(|ts| *ts >= 0.0))
                .collect::<Vec<Option<f64>>>()
                .into(),
        ),
        ("body", text("body")),
        ("msgtype", text("msgtype")),
        ("content", List::from_values(contents.iter().map(to_r)).into()),
        ("relates_to", List::from_values(relations).into()),
        ("encrypted", flags(|row| row.event.encrypted)),
        ("decrypted", flags(|row| row.event.encrypted && row.event.unreadable.is_none())),
        (
            "utd_reason",
            column(|row| row.event.unreadable.as_ref().map(|reason| reason.code.as_str())),
        ),
        (
            "utd_message",
            column(|row| row.event.unreadable.as_ref().map(|reason| reason.message.as_str())),
        ),
        (
            "utd_help",
            column(|row| {
                let reason = row.event.unreadable.as_ref();
                reason.map(|reason| UtdReason::help_of_code(&reason.code))
            }),
        ),
        ("key_source", column(|row| row.event.key_source.map(KeySource::as_str))),
        ("forwarder", column(|row| row.event.forwarder.as_deref())),
        ("trust", column(|row| Some(row.trust.as_str()))),
        ("session_id", column(|row| row.event.session_id.as_deref())),
        ("is_self", flags(|row| row.is_self)),
        ("mentions", List::from_values(mentions).into()),
        ("state_key", column(|row| row.event.state_key.as_deref())),
        ("redacted", flags(|row| row.event.redacted)),
        ("redacts", column(|row| row.event.redacts.as_deref())),
        ("replaces", column(|row| row.replaces.as_deref())),
        ("edited", flags(|row| row.edit.is_some())),
        ("edit_reason", column(|row| row.edit_reason.as_deref())),
        ("thread", strings(threads.iter().map(Option::as_deref))),
        ("thread_latest", List::from_values(latest).into()),
    ])
}
