//! Approvals that are awaited. A user gives one in a browser, when the process that asked for it may
//! be gone: so the store knows under which session it is given.

use super::{Machine, Millis};
use crate::{
    error::Result,
    store::records::{Approval, Approvals},
};

impl Machine {
    /// The session in which `POST path` with `body` waits for approval.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pending_approval(&mut self, path: &str, body: &str) -> Result<Option<String>> {
        self.read(|work| {
            let mut approvals: Approvals = work.tx.get_single()?.unwrap_or_default();
            let approval = approvals.pending.remove(path);
            Ok(approval.filter(|approval| approval.body == body).map(|approval| approval.session))
        })
    }

    /// Notes that `POST path` with `body` waits for approval in `session`, in place of what waited
    /// at `path` before; without a session, that nothing does.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_approval(
        &mut self,
        now: Millis,
        path: &str,
        body: &str,
        session: Option<&str>,
    ) -> Result<()> {
        self.work(now, |work| {
            let mut approvals: Approvals = work.tx.get_single()?.unwrap_or_default();
            let before = approvals.pending.remove(path);
            if before.is_none() && session.is_none() {
                return Ok(());
            }
            if let Some(session) = session {
                let approval = Approval { body: body.to_owned(), session: session.to_owned() };
                approvals.pending.insert(path.to_owned(), approval);
            }
            work.tx.put_single(&approvals)
        })
    }
}
