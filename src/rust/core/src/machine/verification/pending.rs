//! What time changes of verifications, and what the server tells of requests and devices.

use crate::{
    error::Result,
    judgement::verification::Cancel,
    machine::{Work, pump::Pump},
    store::{
        Query,
        records::{OutboxBody, OutboxRow, Phase, Verification},
    },
};

impl Work<'_> {
    /// Ends verifications whose time has run out.
    pub(super) fn end_overdue(&mut self) -> Result<()> {
        for mut flow in self.tx.select::<Verification>(&Query::all())? {
            if !self.is_overdue(&flow) {
                continue;
            }
            if matches!(flow.phase, Phase::Requested) && !flow.requested_here {
                // Our user was not there. Another device of ours may still answer.
                flow.phase = Phase::Cancelled { code: Cancel::Timeout.code().into(), here: true };
                self.keep(&flow)?;
            } else {
                self.settle(&mut flow, Err(Cancel::Timeout.into()))?;
            }
        }
        Ok(())
    }

    fn is_overdue(&self, flow: &Verification) -> bool {
        !flow.has_ended() && flow.deadline < self.now
    }

    /// Goes on with verifications whose other device has become known.
    fn go_on_with_verifications(&mut self) -> Result<()> {
        for mut flow in self.tx.select::<Verification>(&Query::all())? {
            if !matches!(flow.phase, Phase::Ready) || flow.keys.is_some() {
                continue;
            }
            let done = match self.fix_keys(&mut flow) {
                Ok(false) => continue,
                Ok(true) => self.take_waiting(&mut flow),
                Err(stop) => Err(stop),
            };
            self.settle(&mut flow, done)?;
        }
        Ok(())
    }

    /// Our request in a room was sent: its event id is what the verification is known by.
    pub(in crate::machine) fn verification_requested(
        &self,
        row: &OutboxRow,
        event_id: &str,
    ) -> Result<()> {
        self.change_requested(row, |flow| flow.flow_id = Some(event_id.to_owned()))
    }

    /// Our request in a room will never be sent.
    pub(in crate::machine) fn verification_refused(
        &self,
        row: &OutboxRow,
        code: &str,
    ) -> Result<()> {
        let phase = Phase::Cancelled { code: code.to_owned(), here: true };
        self.change_requested(row, |flow| flow.phase = phase)
    }

    fn change_requested(
        &self,
        row: &OutboxRow,
        change: impl FnOnce(&mut Verification),
    ) -> Result<()> {
        if !matches!(row.body, OutboxBody::Event { verifies: true, .. }) {
            return Ok(());
        }
        let flows = self.tx.select::<Verification>(&Query::all())?;
        let of_row = |flow: &Verification| flow.request == Some(row.number) && !flow.has_ended();
        let Some(mut flow) = flows.into_iter().find(of_row) else { return Ok(()) };
        change(&mut flow);
        self.tx.put(&flow)
    }
}

impl Pump<'_, '_> {
    /// Does what is due for verifications.
    pub(in crate::machine) fn pursue_verifications(&mut self) -> Result<()> {
        self.work.end_overdue()?;
        self.work.go_on_with_verifications()?;
        self.upload_signatures()
    }
}
