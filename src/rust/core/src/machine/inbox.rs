//! Hands events over, at least once, to each consumer at its own pace.

use super::{Edit, Machine, Work, timeline::notice};
use crate::{
    error::Result,
    judgement::{
        room_event::unreadable,
        trust::{MessageFacts, Trust, of_message},
    },
    store::{
        Query,
        records::{Consumer, Device, Event, InboxRow, Isolation, KeySource},
    },
};

/// How many events are kept for consumers that do not come. Beyond it the oldest go, and those
/// whose turn they would have been are told.
const LARGEST_INBOX: i64 = 100_000;

/// An event as it is handed over.
#[derive(Debug)]
pub struct Handed {
    /// Its place in the order of hand-over.
    pub number: i64,
    /// The event.
    pub event: Event,
    /// The trust in it, judged now: what is known of its sender's device may be newer than it.
    pub trust: Trust,
    /// It is our own.
    pub is_self: bool,
    /// The event that it replaces, if it is an edit that counts.
    pub replaces: Option<String>,
    /// Why an edit does not count: this one, or the one the server says is the newest of this.
    pub edit_reason: Option<String>,
    /// Its newest edit, of an old event.
    pub edit: Option<Edit>,
    /// The newest message of the thread that begins with it, of an old event.
    pub latest_in_thread: Option<Box<Handed>>,
}

/// What becomes of messages of devices that no trusted owner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// Where only signed devices get keys, they are handed over without what they say: anybody
    /// could have written them who can add a device to a user.
    AsTheModeSays,
    /// They are handed over like others.
    HandedOver,
}

impl Machine {
    /// Up to `limit` events that `consumer` has not dealt with. Those it was handed by the call
    /// before, see [`Machine::handed`], count as dealt with now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn take(
        &mut self,
        consumer: &str,
        limit: usize,
        unsigned: Unsigned,
    ) -> Result<Vec<Handed>> {
        self.work(0, |work| {
            let hold_back = work.holds_back(unsigned)?;
            let mut state = work.consumer(consumer)?;
            if state.cursor != state.handed {
                state.cursor = state.handed;
                work.tx.put(&state)?;
                work.forget_dealt_with()?;
            }
            let rows = work.inbox_after(state.cursor, limit)?;
            let mut handed = Vec::with_capacity(rows.len());
            handed.extend(work.lost_before(&state, rows.first())?);
            for row in rows {
                handed.push(work.judged(row.number, row.event, hold_back)?);
            }
            Ok(handed)
        })
    }

    /// Notes that `consumer` was given the events up to `number`. This is the last step of handing
    /// over: a process that ends before it is given the same events again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn handed(&mut self, consumer: &str, number: i64) -> Result<()> {
        self.work(0, |work| {
            let mut state = work.consumer(consumer)?;
            state.handed = state.handed.max(number);
            work.tx.put(&state)
        })
    }

    /// Notes that `consumer` has dealt with all events up to `number`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn acknowledge(&mut self, consumer: &str, number: i64) -> Result<()> {
        self.work(0, |work| {
            let mut state = work.consumer(consumer)?;
            state.cursor = state.cursor.max(number);
            state.handed = state.handed.max(number);
            work.tx.put(&state)?;
            work.forget_dealt_with()
        })
    }

    /// The number of the last event that was put in the inbox.
    ///
    /// # Errors
    /// Those of the store.
    pub fn last_event(&mut self) -> Result<i64> {
        self.work(0, |work| work.tx.last_number("inbox"))
    }

    /// The events from `first` to `last`, for whoever has not taken them through a consumer.
    ///
    /// # Errors
    /// Those of the store.
    pub fn peek(&mut self, first: i64, last: i64) -> Result<Vec<Handed>> {
        self.work(0, |work| {
            let range = Query::all().after("number", first - 1).until("number", last);
            let rows = work.tx.select::<InboxRow>(&range)?;
            rows.into_iter().map(|row| work.judged(row.number, row.event, false)).collect()
        })
    }
}

impl Work<'_> {
    /// A consumer. One that comes for the first time begins with the oldest event there is; from
    /// then on, what it has not dealt with is kept for it.
    fn consumer(&self, name: &str) -> Result<Consumer> {
        if let Some(known) = self.tx.get(&[name.into()])? {
            return Ok(known);
        }
        let place = match self.inbox_after(0, 1)?.first() {
            Some(oldest) => oldest.number - 1,
            None => self.tx.last_number("inbox")?,
        };
        let fresh = Consumer { name: name.to_owned(), cursor: place, handed: place };
        self.tx.put(&fresh)?;
        Ok(fresh)
    }

    fn inbox_after(&self, cursor: i64, limit: usize) -> Result<Vec<InboxRow>> {
        self.tx.select(&Query::all().after("number", cursor).limit(limit))
    }

    /// Whether what unsigned devices say is held back.
    pub(super) fn holds_back(&self, unsigned: Unsigned) -> Result<bool> {
        Ok(unsigned == Unsigned::AsTheModeSays && self.isolation()? == Isolation::Signed)
    }

    pub(super) fn judged(&self, number: i64, mut event: Event, hold_back: bool) -> Result<Handed> {
        let is_authentic = event.key_source.is_none_or(KeySource::is_authentic);
        if let Some(reason) = self.why_not_in_backup(&event)? {
            event.unreadable = Some(reason);
        }
        let trust = if event.encrypted && event.unreadable.is_none() {
            let device = self.sending_device(&event)?;
            of_message(MessageFacts {
                claimed_signing_key: event.sender_signing_key.as_deref(),
                device: device.as_ref(),
                owner: self.owner(&event.sender)?.as_ref(),
                is_authentic,
            })
        } else {
            Trust::None
        };
        let is_self = event.sender == self.own.user_id;
        let readable = event.encrypted && event.unreadable.is_none();
        let by_this_device = event.sender_key.as_deref() == Some(&self.own.identity_key);
        // Of a key that came by way of another, the maker is somebody's word: whoever makes one up
        // names a device that is signed. Held back would be what devices said that are gone.
        let is_gone = !is_authentic && trust == Trust::UnknownDevice;
        if hold_back && readable && trust <= Trust::Unsigned && !is_gone && !by_this_device {
            event.content = "{}".to_owned();
            event.unreadable = Some(unreadable(
                "unsigned_sender",
                "The sender's device is not signed by an owner who is trusted.",
            ));
        }
        let mut handed = Handed {
            number,
            event,
            trust,
            is_self,
            replaces: None,
            edit_reason: None,
            edit: None,
            latest_in_thread: None,
        };
        self.judge_edit(&mut handed)?;
        Ok(handed)
    }

    fn sending_device(&self, event: &Event) -> Result<Option<Device>> {
        let Some(key) = event.sender_key.as_deref() else {
            // Sessions of other packages may name the Ed25519 key alone.
            let signing_key = event.sender_signing_key.as_ref();
            let mut devices = self.devices_of(&event.sender)?.into_iter();
            return Ok(devices.find(|device| Some(&device.signing_key) == signing_key));
        };
        let owners = self.tx.select::<Device>(&Query::equal("identity_key", key))?;
        Ok(owners.into_iter().find(|device| device.user_id == event.sender))
    }

    /// Events that every consumer has dealt with are deleted; so are the oldest beyond the bound.
    fn forget_dealt_with(&self) -> Result<()> {
        let consumers = self.tx.select::<Consumer>(&Query::all())?;
        let dealt_with = consumers.iter().map(|consumer| consumer.cursor).min().unwrap_or(0);
        self.tx.delete_where::<InboxRow>(&Query::all().until("number", dealt_with))?;
        self.bound_inbox()
    }

    /// Deletes the oldest events beyond the bound.
    pub(super) fn bound_inbox(&self) -> Result<()> {
        // Numbers rise by one and the oldest go first: what is kept is known without counting.
        let surplus = self.tx.last_number("inbox")? - LARGEST_INBOX;
        if surplus > 0 {
            self.tx.delete_where::<InboxRow>(&Query::all().until("number", surplus))?;
        }
        Ok(())
    }

    /// A row for a consumer whose next events were deleted before it came.
    fn lost_before(&self, state: &Consumer, next: Option<&InboxRow>) -> Result<Option<Handed>> {
        let Some(next) = next.filter(|row| row.number > state.cursor + 1) else { return Ok(None) };
        let message = format!(
            "{} events were kept too long for this consumer and are gone.",
            next.number - state.cursor - 1
        );
        self.judged(next.number - 1, notice("", "", "inbox_overflow", &message), false).map(Some)
    }
}
