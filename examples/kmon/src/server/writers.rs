//! Which client writes to which console: at most one for each instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::console::Holder;
use crate::monitor::Instance;

/// The writers of all instances.
#[derive(Clone, Default)]
pub(super) struct Writers(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    writers: HashMap<u8, Writer>,
    last_id: u64,
}

struct Writer {
    id: u64,
    holder: Holder,
    /// Gets the client that takes over.
    taken_by: watch::Sender<Option<Holder>>,
}

/// The right to write to a console, until this is dropped or another client takes over.
pub(super) struct Writing {
    writers: Writers,
    instance: Arc<Instance>,
    id: u64,
    taken_by: watch::Receiver<Option<Holder>>,
}

impl Writers {
    /// Returns the client that writes to instance `number`.
    pub(super) fn holder(&self, number: u8) -> Option<Holder> {
        Some(self.lock().writers.get(&number)?.holder.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// Makes `holder` the writer of `instance`. If another client writes and `force` is not set,
    /// returns that client.
    pub(super) fn begin(
        writers: &Writers,
        instance: &Arc<Instance>,
        holder: Holder,
        force: bool,
    ) -> Result<Self, Holder> {
        let mut table = writers.lock();
        if let Some(writer) = table.writers.get(&instance.number) {
            if !force {
                return Err(writer.holder.clone());
            }
            writer.taken_by.send_replace(Some(holder.clone()));
        }
        table.last_id += 1;
        let id = table.last_id;
        let (taken_by, receiver) = watch::channel(None);
        let writer = Writer {
            id,
            holder,
            taken_by,
        };
        table.writers.insert(instance.number, writer);
        instance.shared.lock().attached = true;
        Ok(Self {
            writers: writers.clone(),
            instance: Arc::clone(instance),
            id,
            taken_by: receiver,
        })
    }

    /// Returns the client that has taken over.
    pub(super) fn taken_by(&self) -> Option<Holder> {
        self.taken_by.borrow().clone()
    }

    /// Returns a receiver that is woken when another client takes over.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Holder>> {
        self.taken_by.clone()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut table = self.writers.lock();
        let number = self.instance.number;
        if table
            .writers
            .get(&number)
            .is_some_and(|now| now.id == self.id)
        {
            table.writers.remove(&number);
            self.instance.shared.lock().attached = false;
            self.instance.shared.announce();
        }
    }
}
