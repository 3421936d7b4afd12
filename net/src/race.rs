//! Two halves of one task, until the first of them ends.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Runs both and returns what the first that is ready returns; the other is dropped.
///
/// Each wake-up polls both, and another one first than the last time: tokio gives a task a budget
/// for each, and a half that always came first could use it up again and again, and the other would
/// never read or write. The `select!` of tokio tosses a coin for this; here the same events always
/// run in the same order, so that a simulated run can be replayed.
pub(crate) async fn race<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut other_first = false;
    poll_fn(|cx| {
        other_first = !other_first;
        if other_first && let Poll::Ready(value) = other.as_mut().poll(cx) {
            return Poll::Ready(value);
        }
        if let Poll::Ready(value) = one.as_mut().poll(cx) {
            return Poll::Ready(value);
        }
        if other_first { Poll::Pending } else { other.as_mut().poll(cx) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn each_comes_first_every_other_time_and_the_first_to_end_ends_both() {
        let order = Cell::new(String::new());
        let note = |name| {
            let mut noted = order.take();
            noted.push(name);
            order.set(noted);
        };
        let half = async |name, rounds| {
            for _ in 0..rounds {
                note(name);
                yield_now().await;
            }
            name
        };
        assert_eq!(race(half('a', 9), half('b', 3)).await, 'b');
        assert_eq!(order.take(), "baabbaa");
    }
}
