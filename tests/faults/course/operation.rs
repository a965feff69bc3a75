//! The operations.

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ExportTar,
    ExportDirectory,
    /// Exports in place of an older archive.
    ReplaceTar,
    ReplaceDirectory,
    /// With the release that the jail is a clone of.
    ExportWithBase,
    /// Of what runs, which is stopped meanwhile, with commands around it.
    ExportHeld,
    RestoreOne,
    RestoreMany,
    /// With a release that is not there.
    RestoreWithBase,
    /// An archive of libioc's.
    RestoreForeign,
    /// After a restore that was killed.
    Cleanup,
    /// After a restore of several that was killed between two renames.
    CleanupPublishes,
}

impl Operation {
    pub(crate) const ALL: [Self; 12] = [
        Self::ExportTar,
        Self::ExportDirectory,
        Self::ReplaceTar,
        Self::ReplaceDirectory,
        Self::ExportWithBase,
        Self::ExportHeld,
        Self::RestoreOne,
        Self::RestoreMany,
        Self::RestoreWithBase,
        Self::RestoreForeign,
        Self::Cleanup,
        Self::CleanupPublishes,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExportTar => "export-tar",
            Self::ExportDirectory => "export-directory",
            Self::ReplaceTar => "replace-tar",
            Self::ReplaceDirectory => "replace-directory",
            Self::ExportWithBase => "export-with-base",
            Self::ExportHeld => "export-held",
            Self::RestoreOne => "restore",
            Self::RestoreMany => "restore-many",
            Self::RestoreWithBase => "restore-with-base",
            Self::RestoreForeign => "restore-foreign",
            Self::Cleanup => "cleanup",
            Self::CleanupPublishes => "cleanup-publishes",
        }
    }

    pub(crate) fn is_export(self) -> bool {
        matches!(self, Self::ExportTar | Self::ExportDirectory | Self::ExportWithBase | Self::ExportHeld)
            || self.replaces()
    }

    pub(crate) fn replaces(self) -> bool {
        matches!(self, Self::ReplaceTar | Self::ReplaceDirectory)
    }

    pub(crate) fn is_directory(self) -> bool {
        matches!(self, Self::ExportDirectory | Self::ReplaceDirectory)
    }

    pub(crate) fn is_cleanup(self) -> bool {
        matches!(self, Self::Cleanup | Self::CleanupPublishes)
    }

    /// The resources that it makes in the target.
    pub(crate) fn makes(self) -> &'static [&'static str] {
        match self {
            Self::RestoreOne => &["jails/web01"],
            Self::RestoreMany | Self::CleanupPublishes => &["jails/web01", "jails/web02"],
            Self::RestoreWithBase => &["jails/web03", "releases/base-2.0"],
            Self::RestoreForeign => &["jails/old01"],
            _ => &[],
        }
    }
}
