//! Notices of other devices that they give us no room key.

use super::{
    Work,
    effects::{self, Effect},
    olm_repair,
};
use crate::{
    error::Result, judgement::withheld::Withheld, primitives::canonical_json::Object,
    store::records::WithheldKey,
};

/// Remembers that `sender` gives us no key, or replaces the Olm session that its device cannot use.
pub(super) fn receive_withheld(work: &mut Work<'_>, sender: &str, content: &Object) -> Result<()> {
    let (room_id, session_id, code) = match Withheld::read(content)? {
        Withheld::NoOlm { sender_key } => {
            return olm_repair::olm_is_broken(work, sender, &sender_key);
        }
        Withheld::Session { room_id, session_id, code } => (room_id, session_id, code),
    };
    let number = work.tx.take_number("withheld key")?;
    let sender = sender.to_owned();
    work.tx.put(&WithheldKey { room_id, session_id, sender: sender.clone(), number, code })?;
    effects::push(work, Effect::StoredFrom { sender });
    Ok(())
}
