//! The config on its way back: byte for byte the archive's, unless name, base, identity, manager or user change something in it.

use std::collections::BTreeMap;

use crate::config::{Assignment, Config, Defaults, Dialect, Form, Names};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::layout::Arrival;
use crate::pool::Pool;
use crate::resource::{ResourceKind, label};
use crate::restore::Identity;
use crate::restore::plan::Plan;
use crate::run::fill_random;
use crate::step::Steps;
use crate::undo::chain;

/// What the config of a restored resource is.
pub(super) enum Becomes {
    /// This file of its own directory.
    File(&'static str, Vec<u8>),
    /// Properties of its own dataset.
    Properties(BTreeMap<String, String>),
}

/// What changes in a config.
pub(super) struct Change<'a> {
    pub(super) pool: &'a Pool,
    pub(super) plan: &'a Plan,
    /// Where it comes from, and what it is built on now.
    pub(super) arrival: &'a Arrival<'a>,
    pub(super) identity: Identity,
    pub(super) steps: &'a Steps<'a>,
}

impl Change<'_> {
    /// The config as it will be, and what can be understood of it.
    pub(super) fn of(&self, form: Form, bytes: Vec<u8>) -> Result<(Becomes, Option<Config>)> {
        let as_it_is = |bytes| (Becomes::File(form.member(), bytes), None);
        if matches!(self.plan.record.kind, ResourceKind::Release | ResourceKind::Plain) {
            return Ok(as_it_is(bytes));
        }
        let edited = self.is_renamed()
            || self.arrival.other_base().is_some()
            || self.identity == Identity::New
            || !self.plan.assignments.is_empty();
        // A file that is only put back need not be understood.
        let must_be_clear = edited || form == Form::Properties;
        let subject = format!("{} in the archive", form.member());
        let config = match Config::parse(form, bytes.clone(), &subject) {
            Ok(config) => config,
            Err(error) if must_be_clear => return Err(error),
            Err(error) => {
                if self.from() != self.to() {
                    self.warn(form, format!("it is restored as it is: {}", chain(&error)));
                }
                return Ok(as_it_is(bytes));
            }
        };
        let original = config.clone();
        let config = self.changed(config)?;
        self.compare(&original, &config)?;
        let becomes = match config.properties() {
            Some(all) => Becomes::Properties(all.clone()),
            None => Becomes::File(config.form().member(), config.clone().into_bytes()),
        };
        Ok((becomes, Some(config)))
    }

    fn is_renamed(&self) -> bool {
        self.plan.name != self.plan.record.name
    }

    fn to(&self) -> Dialect {
        self.pool.layout().dialect()
    }

    fn from(&self) -> Dialect {
        Dialect::of_layout(&self.plan.record.layout).unwrap_or(self.to())
    }

    fn changed(&self, mut config: Config) -> Result<Config> {
        let (old, new) = (self.plan.record.name.as_str(), self.plan.name.as_str());
        if self.is_renamed() {
            config.rename(old, new, self.from());
        }
        if self.identity == Identity::New {
            for renewed in config.renew_identity(old, new, fill_random) {
                self.notice(
                    config.form(),
                    match renewed.value {
                        Some(value) => format!("new identity: {} is now {value}", renewed.key),
                        None => format!("new identity: {} was taken away; set one that is free", renewed.key),
                    },
                );
            }
        }
        let mut config = self.translated(config, Names { old, new });
        for notice in self.pool.layout().adapt(self.pool.backend(), &mut config, self.arrival)? {
            self.notice(config.form(), notice);
        }
        for assignment in &self.plan.assignments {
            self.assign(&mut config, assignment)?;
        }
        Ok(config)
    }

    /// As the manager of this pool writes it.
    fn translated(&self, config: Config, names: Names<'_>) -> Config {
        let form = config.form();
        let one = config.translated((self.from(), self.to()), names);
        if !one.respelled.is_empty() {
            let layout = self.pool.layout().name();
            let keys = one.respelled.join(", ");
            self.notice(form, format!("as {layout} writes it now: {keys}"));
        }
        if one.reformed {
            let now = one.config.form().member();
            self.notice(form, format!("it is {now} now, since it had to be changed"));
        }
        for (key, why) in one.lost {
            self.warn(form, format!("{key} cannot be said here, {why}"));
        }
        one.config
    }

    fn assign(&self, config: &mut Config, Assignment { key, value, .. }: &Assignment) -> Result<()> {
        let what = label(self.plan.record.kind, &self.plan.name);
        let failed = |reason| Error::Usage(format!("{key} of the {what} cannot be set: {reason}"));
        let message = match value {
            Some(value) => {
                config.assign(key, value, self.to()).map_err(failed)?;
                format!("{key} is now {}", config.get(key).unwrap_or_default())
            }
            None if config.unassign(key).map_err(failed)? => format!("{key} was taken away"),
            None => format!("{key} was not set"),
        };
        self.notice(config.form(), message);
        Ok(())
    }

    /// What a config leaves open the pool decides. Tells of what it decides otherwise than the one that the resource came from.
    fn compare(&self, original: &Config, config: &Config) -> Result<()> {
        let Some(before) = &self.plan.record.view else { return Ok(()) };
        let says = |config: &Config, key: &str| {
            let keys = match key {
                "basejail" => &["basejail", "basejail_type", "type"][..],
                "template" => &["template", "type"],
                key => &[key],
            };
            keys.iter().any(|key| config.get(key).is_some())
        };
        let now = Defaults::of(self.pool.backend())?.view(config);
        for (key, [was, is]) in now.differences(before, |key| says(original, key) || says(config, key)) {
            let message =
                format!("{key} is {is} by the defaults of this pool; where it was exported it was {was}");
            self.notice(config.form(), message);
        }
        Ok(())
    }

    fn notice(&self, form: Form, message: String) {
        self.steps.notice(form.member(), message);
    }

    fn warn(&self, form: Form, message: String) {
        self.steps.warn(&Warning { subject: form.member().into(), message });
    }
}
