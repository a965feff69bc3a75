//! How much may be on its way between threads. Counting pieces would not do: how big they are is for the archive to say.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may be taken at once, or one piece of any size.
const MOST_BYTES: usize = 48 << 20;

#[derive(Default)]
struct State {
    taken_bytes: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes from the budget.
pub(super) struct Taker(Arc<Shared>);

/// Gives back what was taken, piece by piece. When it is gone, nobody waits any more.
pub(super) struct Giver {
    shared: Arc<Shared>,
    held_bytes: usize,
}

/// Both ends of a budget.
pub(super) fn new() -> (Taker, Giver) {
    let shared = Arc::default();
    (Taker(Arc::clone(&shared)), Giver { shared, held_bytes: 0 })
}

impl Taker {
    /// Waits until there is room for so many bytes; false if they are not wanted any more.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let fits =
            |state: &State| state.taken_bytes == 0 || state.taken_bytes.saturating_add(bytes) <= MOST_BYTES;
        let waited = self.0.changed.wait_while(self.0.state(), |state| !state.closed && !fits(state));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.taken_bytes = state.taken_bytes.saturating_add(bytes);
        !state.closed
    }
}

impl Giver {
    /// The piece before is not in memory any more; the next one has so many bytes.
    pub(super) fn next(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.held_bytes, bytes);
        let mut state = self.shared.state();
        state.taken_bytes = state.taken_bytes.saturating_sub(before);
        self.shared.changed.notify_all();
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_one_of_any_size_passes() {
        let (taker, mut giver) = new();
        assert!(taker.take(MOST_BYTES - 1) && taker.take(1));
        let waiting = std::thread::spawn(move || (taker.take(2 * MOST_BYTES), taker.take(1)));
        std::thread::sleep(std::time::Duration::from_millis(20));
        giver.next(MOST_BYTES - 1);
        giver.next(1);
        assert!(!waiting.is_finished());
        giver.next(2 * MOST_BYTES);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(giver);
        assert_eq!(waiting.join().unwrap(), (true, false));
    }
}
