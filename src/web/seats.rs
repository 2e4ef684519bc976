//! Who is connected: so many in all, a share of that for each address, and room for one more at the cost of whoever has
//! been idle longest. An address is the one that the connection comes from, whatever a header says.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use super::access::lock;

/// Connections at once, of all addresses and of one.
pub(super) const SEATS: usize = 64;
pub(super) const SHARE: usize = 24;

/// The connections that are open.
#[derive(Default)]
pub(super) struct Seats(Mutex<Vec<Arc<Seat>>>);

/// One of them.
pub(super) struct Seat {
    network: IpAddr,
    standing: Mutex<(Standing, Instant)>,
    leave: Notify,
}

/// What is done for a connection; what stands first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing: it has asked nothing, or proved nothing, or has its answer.
    Idle,
    /// It takes a long answer, as slowly as it likes.
    Reading,
    /// An answer is made.
    Served,
}

impl Seats {
    /// A seat for somebody from there; `None`: everybody else of that address is being served.
    pub fn take(self: &Arc<Seats>, network: IpAddr) -> Option<Taken> {
        let mut seats = lock(&self.0);
        let of = |network: IpAddr| seats.iter().filter(|seat| seat.network == network).count();
        let full = match of(network) {
            own if own >= SHARE => Some(network),
            _ if seats.len() >= SEATS => seats.iter().map(|seat| seat.network).max_by_key(|network| of(*network)),
            _ => None,
        };
        if let Some(full) = full {
            let seated = seats.iter().enumerate().filter(|(_, seat)| seat.network == full);
            let standing = seated.map(|(at, seat)| (*lock(&seat.standing), at));
            let (_, at) = standing.filter(|((standing, _), _)| *standing != Standing::Served).min()?;
            seats.swap_remove(at).leave.notify_one();
        }
        let standing = Mutex::new((Standing::Idle, Instant::now()));
        let seat = Arc::new(Seat { network, standing, leave: Notify::new() });
        seats.push(seat.clone());
        Some(Taken { seats: self.clone(), seat })
    }
}

impl Seat {
    /// Returns when somebody else needs the place.
    pub async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// Whoever sits there has proved who they are and gets an answer, until what is returned is dropped.
    pub fn serve(self: &Arc<Seat>) -> Serving {
        self.now(Standing::Served);
        Serving(self.clone())
    }

    /// What comes now is long, and whoever sits there takes it in their own time.
    pub fn read(&self) {
        self.now(Standing::Reading);
    }

    fn now(&self, standing: Standing) {
        *lock(&self.standing) = (standing, Instant::now());
    }
}

/// An answer is being made.
pub(super) struct Serving(Arc<Seat>);

impl Drop for Serving {
    fn drop(&mut self) {
        let is_served = lock(&self.0.standing).0 == Standing::Served;
        if is_served {
            self.0.now(Standing::Idle);
        }
    }
}

/// A seat until it is dropped.
pub(super) struct Taken {
    seats: Arc<Seats>,
    pub seat: Arc<Seat>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.seats.0).retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sent_away(taken: &Taken) -> bool {
        !lock(&taken.seats.0).iter().any(|seat| Arc::ptr_eq(seat, &taken.seat))
    }

    #[test]
    fn an_address_beyond_its_share_loses_its_oldest_idle_connection() {
        let (seats, here) = (Arc::new(Seats::default()), IpAddr::from([192, 0, 2, 1]));
        let mut taken: Vec<Taken> = (0..SHARE).map(|_| seats.take(here).unwrap()).collect();
        let serving = taken[0].seat.serve();
        taken[1].seat.read();
        taken.push(seats.take(here).unwrap());
        assert_eq!(taken.iter().position(is_sent_away), Some(2), "the oldest that is neither served nor reading");
        let others: Vec<_> = taken[3..].iter().map(|taken| taken.seat.serve()).collect();
        taken.push(seats.take(here).unwrap());
        assert!(is_sent_away(&taken[1]), "then whoever reads");
        let last = taken[SHARE + 1].seat.serve();
        assert!(seats.take(here).is_none());
        assert!(seats.take(IpAddr::from([192, 0, 2, 2])).is_some());
        drop((serving, others, last));
        assert!(seats.take(here).is_some());
    }

    #[test]
    fn a_full_house_makes_room_at_the_cost_of_who_has_most() {
        let seats = Arc::new(Seats::default());
        let address = |last: usize| IpAddr::from([192, 0, 2, last as u8]);
        let many: Vec<Taken> = (0..SHARE).map(|_| seats.take(address(1)).unwrap()).collect();
        let others: Vec<Taken> = (SHARE..SEATS).map(|at| seats.take(address(at + 2)).unwrap()).collect();
        let late = seats.take(address(255)).unwrap();
        assert!(is_sent_away(&many[0]) && !is_sent_away(&late) && !others.iter().any(is_sent_away));
        drop((many, others, late));
        assert!(lock(&seats.0).is_empty());
    }
}
