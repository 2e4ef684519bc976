//! The seats for connections: a number of seats in all and a share of them for each address. A new connection may take the
//! seat of the one that has been idle longest. The address is that of the connection; headers do not count.

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

/// The seat of one connection.
pub(super) struct Seat {
    network: IpAddr,
    state: Mutex<(SeatState, Instant)>,
    leave: Notify,
}

/// The state of a connection; the states that come first lose their seats first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SeatState {
    /// The client has not sent a request, has proved nothing, or has its answer.
    Idle,
    /// The client takes a long answer at its own pace.
    Reading,
    /// An answer is being made.
    Served,
}

impl Seats {
    /// Takes a seat for a connection from this network; `None`: all seats of the network are being served.
    pub fn take(self: &Arc<Seats>, network: IpAddr) -> Option<SeatGuard> {
        let mut seats = lock(&self.0);
        let of = |network: IpAddr| seats.iter().filter(|seat| seat.network == network).count();
        let full = match of(network) {
            own if own >= SHARE => Some(network),
            _ if seats.len() >= SEATS => seats.iter().map(|seat| seat.network).max_by_key(|network| of(*network)),
            _ => None,
        };
        if let Some(full) = full {
            let seated = seats.iter().enumerate().filter(|(_, seat)| seat.network == full);
            let states = seated.map(|(at, seat)| (*lock(&seat.state), at));
            let (_, at) = states.filter(|((state, _), _)| *state != SeatState::Served).min()?;
            seats.swap_remove(at).leave.notify_one();
        }
        let state = Mutex::new((SeatState::Idle, Instant::now()));
        let seat = Arc::new(Seat { network, state, leave: Notify::new() });
        seats.push(seat.clone());
        Some(SeatGuard { seats: self.clone(), seat })
    }
}

impl Seat {
    /// Returns when another connection needs the seat.
    pub async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// Marks the seat as served until the returned value is dropped; the client has proved its identity.
    pub fn serve(self: &Arc<Seat>) -> Serving {
        self.now(SeatState::Served);
        Serving(self.clone())
    }

    /// Marks the seat as reading: the client takes a long answer.
    pub fn read(&self) {
        self.now(SeatState::Reading);
    }

    fn now(&self, state: SeatState) {
        *lock(&self.state) = (state, Instant::now());
    }
}

/// An answer is being made.
pub(super) struct Serving(Arc<Seat>);

impl Drop for Serving {
    fn drop(&mut self) {
        let is_served = lock(&self.0.state).0 == SeatState::Served;
        if is_served {
            self.0.now(SeatState::Idle);
        }
    }
}

/// A seat that is given back when the value is dropped.
pub(super) struct SeatGuard {
    seats: Arc<Seats>,
    pub seat: Arc<Seat>,
}

impl Drop for SeatGuard {
    fn drop(&mut self) {
        lock(&self.seats.0).retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sent_away(taken: &SeatGuard) -> bool {
        !lock(&taken.seats.0).iter().any(|seat| Arc::ptr_eq(seat, &taken.seat))
    }

    #[test]
    fn an_address_beyond_its_share_loses_its_oldest_idle_connection() {
        let (seats, here) = (Arc::new(Seats::default()), IpAddr::from([192, 0, 2, 1]));
        let mut taken: Vec<SeatGuard> = (0..SHARE).map(|_| seats.take(here).unwrap()).collect();
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
        let many: Vec<SeatGuard> = (0..SHARE).map(|_| seats.take(address(1)).unwrap()).collect();
        let others: Vec<SeatGuard> = (SHARE..SEATS).map(|at| seats.take(address(at + 2)).unwrap()).collect();
        let late = seats.take(address(255)).unwrap();
        assert!(is_sent_away(&many[0]) && !is_sent_away(&late) && !others.iter().any(is_sent_away));
        drop((many, others, late));
        assert!(lock(&seats.0).is_empty());
    }
}
