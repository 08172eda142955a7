//! What came of requests, taken in.

use super::{Machine, Millis, Work};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::unique_map::{UniqueMap, read_object},
    primitives::canonical_json::Json,
    store::{
        Record,
        records::{Ask, OutboxBody, OutboxRow, OutboxState, Request},
    },
};

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The server answered.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The server answered with what is no text.
    File {
        /// The HTTP status.
        status: u16,
        /// The body.
        bytes: Vec<u8>,
    },
    /// It was performed, and no answer came: the server may have acted or not.
    NoAnswer,
    /// It was not performed.
    NotTried,
}

/// An answer that cannot be worked with, and that whoever waits must be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was asked.
    pub kind: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The error code of the server.
    pub code: String,
    /// What the server says.
    pub message: String,
}

impl Machine {
    /// Takes in what came of requests. An answer that was replied to before, or whose question was
    /// asked anew since, is ignored.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replies(&mut self, now: Millis, replies: Vec<(i64, Reply)>) -> Result<Vec<Trouble>> {
        self.work(now, |work| {
            let mut troubles = Vec::new();
            for (number, reply) in replies {
                let Some(request) = work.tx.get::<Request>(&[number.into()])? else { continue };
                work.tx.delete::<Request>(&request.key())?;
                troubles.extend(work.take_reply(request.ask, reply)?);
            }
            Ok(troubles)
        })
    }
}

impl Work<'_> {
    fn take_reply(&mut self, ask: Ask, reply: Reply) -> Result<Option<Trouble>> {
        let (status, body) = match (&ask, reply) {
            (Ask::KeyBundle { room_id, sender, number }, Reply::File { status: 200, bytes }) => {
                self.key_bundle_answered(room_id, sender, *number, bytes)?;
                return Ok(None);
            }
            (_, Reply::Answer { status, body }) => (status, body),
            // What is not UTF-8 is not JSON either, and is refused as such.
            (_, Reply::File { status, .. }) => (status, String::new()),
            (Ask::Send { number }, Reply::NotTried) => {
                if let Some(row) = self.waiting_row(*number)? {
                    self.not_attempted(row)?;
                }
                return Ok(None);
            }
            (_, Reply::NoAnswer | Reply::NotTried) => return Ok(None),
        };
        let trouble = trouble(ask.kind(), status, &body);
        let taken = match ask {
            Ask::Send { number } if status == 200 || trouble.is_final() => {
                self.send_answered(number, status, &body, &trouble)
            }
            _ if status == 200 => self.take_answer(&ask, Some(&body)),
            Ask::Encryption { .. }
            | Ask::HistoryVisibility { .. }
            | Ask::BackupVersion
            | Ask::BackedUpKey { .. }
                if trouble.is_absence() =>
            {
                self.take_answer(&ask, None)
            }
            Ask::BackUp { .. } if trouble.is_of_another_backup() => {
                self.back_up_refused(true)?;
                return Ok(None);
            }
            Ask::BackUp { .. } if trouble.is_final() => {
                self.back_up_refused(false)?;
                return Ok(Some(trouble));
            }
            // Other refusals (terms to be read, a proxy's own page) pass, and so does this upload.
            Ask::KeysUpload if status == 400 => {
                self.key_upload_refused(&trouble.message)?;
                return Ok(None);
            }
            Ask::Gap { room_id, number, .. } if trouble.is_final() => {
                self.give_up_gap(&room_id, number, &trouble.message)?;
                return Ok(None);
            }
            Ask::KeyBundle { room_id, sender, number } => {
                let is_final = trouble.is_final();
                self.key_bundle_failed(&room_id, &sender, number, is_final)?;
                return Ok(None);
            }
            Ask::Encryption { room_id, .. }
            | Ask::HistoryVisibility { room_id }
            | Ask::Members { room_id, .. }
                if trouble.is_final() =>
            {
                self.refuse_queued(&room_id, &trouble.code, &trouble.message)?;
                return Ok(None);
            }
            Ask::Signature { number } if trouble.is_final() => {
                self.owes_nothing(number)?;
                return Ok(Some(trouble));
            }
            _ => return Ok(Some(trouble)),
        };
        match taken {
            Ok(()) => Ok(None),
            Err(error) if error.kind == Kind::Answer => Ok(Some(Trouble {
                code: "MXCRYPT_BAD_ANSWER".into(),
                message: error.message,
                ..trouble
            })),
            Err(error) => Err(error),
        }
    }

    fn take_answer(&mut self, ask: &Ask, body: Option<&str>) -> Result<()> {
        let text = body.unwrap_or_default();
        match ask {
            Ask::KeysUpload => self.key_upload_accepted(text),
            Ask::KeysQuery { users } => self.keys_query_answered(users, text),
            Ask::KeysClaim { devices } => self.keys_claim_answered(devices, text),
            Ask::Encryption { room_id, up_to } => self.encryption_answered(room_id, *up_to, body),
            Ask::HistoryVisibility { room_id } => self.history_visibility_answered(room_id, body),
            Ask::Members { room_id, generation } => {
                self.members_answered(room_id, *generation, text)
            }
            Ask::Signature { number } => self.signature_uploaded(*number, text),
            Ask::Gap { room_id, number, from } => self.gap_answered(room_id, *number, from, text),
            Ask::BackupVersion => self.backup_version_answered(body),
            Ask::BackUp { version, up_to } => self.backed_up(version, *up_to),
            Ask::BackedUpKey { room_id, session_id } => {
                self.backup_searched(room_id, session_id, body)
            }
            Ask::KeyBundle { room_id, sender, number } => {
                self.key_bundle_answered(room_id, sender, *number, text.as_bytes().to_vec())
            }
            Ask::Send { .. } => Ok(()),
        }
    }

    fn waiting_row(&self, number: i64) -> Result<Option<OutboxRow>> {
        let row: Option<OutboxRow> = self.tx.get(&[number.into()])?;
        Ok(row.filter(|row| row.state == OutboxState::Fixed))
    }

    fn send_answered(
        &mut self,
        number: i64,
        status: u16,
        body: &str,
        trouble: &Trouble,
    ) -> Result<()> {
        let Some(row) = self.waiting_row(number)? else { return Ok(()) };
        let is_keys = matches!(row.body, OutboxBody::RoomKeys { .. });
        match status {
            // Whether it was told or not, nothing waits for it.
            _ if matches!(row.body, OutboxBody::ToDevice { .. }) => {
                self.tx.delete::<OutboxRow>(&row.key())
            }
            200 if is_keys => self.tx.delete::<OutboxRow>(&row.key()),
            200 => {
                let answer: UniqueMap<Json> =
                    read_object(body).or_fail(Kind::Answer, "The answer to an event")?;
                let event_id = answer.0.get("event_id").and_then(Json::as_str);
                let event_id = event_id
                    .ok_or_else(|| Error::new(Kind::Answer, "An event was sent and has no id."))?;
                self.sent(row, event_id)
            }
            _ if is_keys => {
                // Whoever should have got it did not, so the session must not be used.
                self.end_outbound_session(&row.room_id)?;
                self.refuse_queued(&row.room_id, &trouble.code, &trouble.message)?;
                self.tx.delete::<OutboxRow>(&row.key())
            }
            _ => self.refuse(row, &trouble.code, &trouble.message),
        }
    }
}

fn trouble(kind: &'static str, status: u16, body: &str) -> Trouble {
    let answer: UniqueMap<Json> = read_object(body).unwrap_or_default();
    let text = |name: &str| answer.0.get(name).and_then(Json::as_str).map(str::to_owned);
    Trouble {
        kind,
        status,
        code: text("errcode").unwrap_or_else(|| "M_UNKNOWN".into()),
        message: text("error").unwrap_or_else(|| format!("The server answered with {status}.")),
    }
}

impl Trouble {
    /// The same request would be refused again.
    fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && ![401, 408, 429].contains(&self.status)
    }

    fn is_absence(&self) -> bool {
        self.status == 404 && self.code == "M_NOT_FOUND"
    }

    /// The version of the key backup that was written to is not there any more.
    fn is_of_another_backup(&self) -> bool {
        self.code == "M_WRONG_ROOM_KEYS_VERSION" || self.is_absence()
    }
}
