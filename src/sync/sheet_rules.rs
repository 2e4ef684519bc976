//! The rules that count: those of the configuration, and after them those that owners keep in their destinations, in the
//! order of the destinations.
//!
//! The store keeps the rules as they were last read. Each delivery reads them again, and without a delivery they are read
//! at most once a day, so that a cycle with nothing new sends nothing.

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use super::{Engine, Watcher};
use crate::config;
use crate::destination::OwnRules;
use crate::rules::{Rule, Rules};
use crate::store::{self, DestinationState, TabRules};

impl Engine {
    /// Every rule, in the order in which they are applied.
    pub fn rules(&self) -> Result<Rules, store::Error> {
        let mut rules = self.config.rules.list().to_vec();
        rules.extend(self.sheet_rules()?.into_iter().flat_map(|(_, own)| own));
        Ok(Rules::new(rules))
    }

    /// The rules that were last read in destinations, with the names of those.
    pub fn sheet_rules(&self) -> Result<Vec<(String, Vec<Rule>)>, store::Error> {
        let mut all = Vec::new();
        for (config, kept) in self.all_kept()? {
            // Text of a release that knew more, or patterns that this one takes for none, are read anew within a day.
            let rules: Vec<Rule> = serde_json::from_str(&kept.text).unwrap_or_default();
            if !rules.is_empty() {
                all.push((config.name.clone(), rules));
            }
        }
        Ok(all)
    }

    /// Tells one set of all rules from another, without making any ready.
    pub(super) fn rules_fingerprint(&self) -> Result<u64, store::Error> {
        let configured = self.config.rules.fingerprint();
        let own =
            self.all_kept()?.into_iter().map(|(_, kept)| kept.fingerprint).filter(|fingerprint| *fingerprint != 0);
        let bytes: Vec<u8> = own.flat_map(u64::to_le_bytes).collect();
        if bytes.is_empty() {
            return Ok(configured);
        }
        Ok(xxh3_64(&[&configured.to_le_bytes()[..], &bytes].concat()))
    }

    fn all_kept(&self) -> Result<Vec<(&config::Destination, TabRules)>, store::Error> {
        let mut all = Vec::new();
        for config in &self.config.destinations {
            let Some(tab) = config.shown().rules_tab else { continue };
            let kept = self.store.destination(&config.name, &config.target())?.rules;
            if kept.tab == tab {
                all.push((config, kept));
            }
        }
        Ok(all)
    }

    /// True where a destination without anything new is to be asked for its rules.
    pub(super) fn sheet_rules_due(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        now: DateTime<Utc>,
    ) -> bool {
        let Some(tab) = config.shown().rules_tab else { return false };
        let today = now.with_timezone(&self.config.timezone).date_naive();
        // Rules have nothing to say before any account is known.
        !self.store.accounts().is_empty() && (state.rules.tab != tab || state.rules.day != Some(today))
    }

    /// The rules as the store keeps them.
    pub(super) fn kept(&self, tab: &str, own: OwnRules, now: DateTime<Utc>) -> TabRules {
        // Plain data always serialises.
        let text =
            if own.rules.is_empty() { String::new() } else { serde_json::to_string(&own.rules).unwrap_or_default() };
        TabRules {
            tab: tab.to_owned(),
            day: Some(now.with_timezone(&self.config.timezone).date_naive()),
            text,
            fingerprint: Rules::new(own.rules).fingerprint(),
            notes: own.notes,
        }
    }

    /// Reads them at once, wherever owners keep some. Failures are told by the delivery that follows.
    pub(super) async fn read_sheet_rules(&self, watcher: &Watcher) -> Result<(), store::Error> {
        for config in self.config.destinations.iter().filter(|config| config.shown().rules_tab.is_some()) {
            let mut state = self.store.destination(&config.name, &config.target())?;
            state.rules.day = None;
            self.store.put_destination(&config.name, &config.target(), &state)?;
            self.deliver(config, watcher).await?;
        }
        Ok(())
    }
}
