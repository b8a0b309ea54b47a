//! A sink that is handed the pieces of a file in order, by threads that read them as they come.

use std::{
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::Sink;

/// Lets threads wait for their turn at a sink.
pub(super) struct InOrder<'a> {
    state: Mutex<State<'a>>,
    turned: Condvar,
}

struct State<'a> {
    sink: &'a mut dyn Sink,
    /// Up to where the sink has the bytes; `None` once a piece failed.
    taken: Option<u64>,
}

/// A piece that is at work. Dropped before its turn, it has failed, and nobody waits for it.
pub(super) struct Turn<'a, 'b> {
    queue: &'a InOrder<'b>,
    piece: Range<u64>,
    over: bool,
}

impl<'b> InOrder<'b> {
    /// Begins with the start of the file.
    pub(super) fn new(sink: &'b mut dyn Sink) -> Self {
        let taken = Some(0);
        Self {
            state: Mutex::new(State { sink, taken }),
            turned: Condvar::new(),
        }
    }

    /// Says that this piece is at work. It is not empty. Pieces are taken up in order: whoever waits
    /// for its turn waits for pieces that other threads have taken up before.
    pub(super) fn expect(&self, piece: &Range<u64>) -> Turn<'_, 'b> {
        Turn {
            queue: self,
            piece: piece.clone(),
            over: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'b>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_, '_> {
    /// Waits until the sink has all that comes before, and hands on this piece. Where another
    /// failed, nothing is handed on any more: whoever failed says why.
    pub(super) fn take<E>(
        mut self,
        hand_on: impl FnOnce(&mut dyn Sink) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.piece.start;
        let waits = |state: &mut State<'_>| state.taken.is_some_and(|taken| taken < start);
        let turned = self.queue.turned.wait_while(self.queue.lock(), waits);
        let mut state = turned.unwrap_or_else(PoisonError::into_inner);
        if state.taken.is_none() {
            return Ok(());
        }
        hand_on(&mut *state.sink)?;
        state.taken = Some(self.piece.end);
        self.over = true;
        Ok(())
    }
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        if !self.over {
            self.queue.lock().taken = None;
        }
        self.queue.turned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{io, thread};

    use super::*;

    struct Ends(Vec<u64>);

    impl Sink for Ends {
        fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.push(offset + bytes.len() as u64);
            Ok(())
        }

        fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
            self.0.push(offset + len);
            Ok(())
        }
    }

    /// Has a thread for each of ten pieces, the last begun first; one fails, if any.
    fn handed_on(failing: Option<u64>) -> Vec<u64> {
        let mut ends = Ends(Vec::new());
        let queue = InOrder::new(&mut ends);
        thread::scope(|scope| {
            for n in (0..10).rev() {
                let turn = queue.expect(&(n * 10..n * 10 + 10));
                scope.spawn(move || {
                    if failing != Some(n) {
                        turn.take(|sink| sink.hole(n * 10, 10)).unwrap();
                    }
                });
            }
        });
        ends.0
    }

    #[test]
    fn pieces_are_handed_on_in_order_and_none_after_one_that_failed() {
        let all: Vec<u64> = (1..=10).map(|n| n * 10).collect();
        assert_eq!(handed_on(None), all);
        for failing in 0..10 {
            let before = &all[..failing as usize];
            assert!(before.starts_with(&handed_on(Some(failing))));
        }
    }
}
