//! What stores before schema version 16 remembered of events, in two tables of sealed rows, brought into the rows of
//! `known_events.rs`. The old rows can be read with the store key alone, so this is no step of the schema.

use super::{
    Query, Transaction,
    records::{Original, TakenEvent},
};
use crate::{error::Result, primitives::keys::decode_base64};

/// Does so for all old rows, in the order in which the events came, and deletes them.
pub(super) fn convert(tx: &Transaction<'_>) -> Result<()> {
    let mut originals = tx.select::<Original>(&Query::all())?;
    originals.sort_by_key(|original| original.number);
    for original in &originals {
        let (room_id, event_id) = (&original.room_id, &original.event_id);
        match &original.facts {
            Some(facts) => tx.remember_facts(room_id, event_id, facts)?,
            None => tx.remember_contradiction(room_id, event_id)?,
        }
    }
    let mut taken = tx.select::<TakenEvent>(&Query::all())?;
    taken.sort_by_key(|event| event.number);
    for event in &taken {
        tx.is_new_event(&event.room_id, &event.event_id, &decode_base64(&event.digest)?)?;
    }
    tx.delete_where::<Original>(&Query::all())?;
    tx.delete_where::<TakenEvent>(&Query::all())?;
    Ok(())
}
