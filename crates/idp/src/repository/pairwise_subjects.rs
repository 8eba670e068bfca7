use super::Fut;

/// Pairwise subjects (OpenID Connect Core 8): made once, and then the same for ever.
pub trait PairwiseSubjects {
    /// The subject of a user in a sector: `fresh` where there was none.
    fn pairwise_subject<'a>(
        &'a self,
        tenant: &'a str,
        sector: &'a str,
        user_id: &'a str,
        fresh: &'a str,
    ) -> Fut<'a, String>;
    /// Whose a subject is.
    fn user_of_pairwise_subject<'a>(&'a self, tenant: &'a str, subject: &'a str) -> Fut<'a, Option<String>>;
}
