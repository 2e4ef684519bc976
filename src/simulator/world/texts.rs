//! The expenses of a household and a small company: names, words and amounts, as tables. The texts are invented, and
//! several are nasty on purpose, because a payee may choose any name.

/// The kind of operation: `trnCode` and `trname`.
pub(super) type Kind = (&'static str, &'static str);

pub(super) const OUTGOING: Kind = ("TRO", "Изходящ превод");
pub(super) const INCOMING: Kind = ("TRI", "Входящ превод");
pub(super) const OWN: Kind = ("OWN", "Превод между собствени сметки");
pub(super) const FEE: Kind = ("FEE", "Такси и комисиони");
pub(super) const POS: Kind = ("POS", "Плащане с карта на ПОС терминал");
pub(super) const ONLINE: Kind = ("ECM", "Плащане с карта в интернет");
pub(super) const ATM: Kind = ("ATM", "Теглене на АТМ");
pub(super) const INTEREST: Kind = ("INT", "Лихва");
pub(super) const BUDGET: Kind = ("BUD", "Плащане към бюджета");
pub(super) const UTILITY: Kind = ("UTL", "Комунално плащане");

// Places among the household's accounts: the person's three, the company's two.
pub(super) const DAILY: usize = 0;
pub(super) const CARD: usize = 1;
pub(super) const SAVINGS: usize = 2;
pub(super) const COMPANY: usize = 3;
pub(super) const DOLLARS: usize = 4;

/// A payment that comes every month, in some months, or once a year.
pub(super) struct Recurring {
    pub account: usize,
    /// Day of the month.
    pub day: u32,
    /// Months, first and last; the range may run over the end of the year.
    pub months: (u32, u32),
    /// Euro cents, signed.
    pub cents: i64,
    /// Largest deviation of the amount, in percent.
    pub strays: u32,
    pub kind: Kind,
    pub party: &'static str,
    /// Account part of the other side's IBAN; empty: not said.
    pub other: &'static str,
    /// `{m}` stands for the month.
    pub lines: [&'static str; 3],
    /// A fee is booked with it, under the same reference.
    pub fee: bool,
}

const ALL_YEAR: (u32, u32) = (1, 12);

#[rustfmt::skip]
pub(super) const RECURRING: [Recurring; 26] = [
    row(DAILY, 28, ALL_YEAR, 245_000, 0, INCOMING, "ИЗМИСЛЕН РАБОТОДАТЕЛ АД", "00012001", ["Заплата {m}", "", ""], false),
    row(DAILY, 20, (12, 12), 90_000, 20, INCOMING, "ИЗМИСЛЕН РАБОТОДАТЕЛ АД", "00012001", ["Премия „Коледа“ {m} 🎄", "", ""], false),
    row(DAILY, 3, ALL_YEAR, -64_000, 0, OUTGOING, "Радка Измислена-Примерова", "00034077", ["Наем {m}", "ап. 12, ул. „Няма такава“ 5", ""], true),
    row(DAILY, 12, ALL_YEAR, -2_450, 0, UTILITY, "ТЕЛЕКОМ ПРИМЕР ЕАД", "", ["+359 2 000 0000", "Фактура {m}", "Интернет и телефон"], false),
    row(DAILY, 15, ALL_YEAR, -5_200, 35, UTILITY, "ЕЛЕКТРО ИЗМИСЛЕНО АД", "", ["Клиент 000111222", "Ел. енергия {m}", ""], false),
    row(DAILY, 17, ALL_YEAR, -1_480, 25, UTILITY, "ВОДА И КАНАЛ - ИЗМИСЛОВО", "", ["Аб. № 00-12-345", "{m}", ""], false),
    row(DAILY, 20, (10, 4), -8_900, 30, UTILITY, "ТОПЛО ИЗМИСЛОВО ЕАД", "", ["Парно {m}", "", ""], false),
    row(DAILY, 5, ALL_YEAR, -4_500, 0, OUTGOING, "Плувен клуб \"Делфинче\"", "00055310", ["Такса {m} за Ани 🏊", "", ""], false),
    row(DAILY, 18, ALL_YEAR, -3_000, 0, OUTGOING, "Бай Пешо 'Майстора'", "00061234", ["@bai_pesho", "вход Б, {m}", ""], false),
    row(DAILY, 1, ALL_YEAR, -180, 0, FEE, "", "", ["Месечна такса поддръжка {m}", "", ""], false),
    row(DAILY, 26, (4, 4), -13_860, 10, BUDGET, "ОБЩИНА ИЗМИСЛОВО", "00084444", ["Данък МПС", "Дан. № 7000000000", "-5% отстъпка"], false),
    row(DAILY, 27, (4, 4), -9_140, 10, BUDGET, "ОБЩИНА ИЗМИСЛОВО", "00084444", ["Данък сгради и ТБО", "-5% отстъпка", ""], false),
    row(CARD, 1, ALL_YEAR, -100, 0, FEE, "", "", ["Такса карта {m}", "", ""], false),
    row(CARD, 9, ALL_YEAR, -1_299, 0, ONLINE, "STREAMFLIX.EXAMPLE *SUBSCR", "", ["карта *4711", "{m}", "AMSTERDAM NL"], false),
    row(CARD, 14, ALL_YEAR, -299, 0, ONLINE, "CLOUD++ 100GB", "", ["карта *4711", "=1+1 месеца", ""], false),
    row(COMPANY, 1, ALL_YEAR, -700, 0, FEE, "", "", ["Пакет „Фирма“ {m}", "", ""], false),
    row(COMPANY, 5, ALL_YEAR, -52_000, 0, OUTGOING, "ИМОТИ НЯМА ЕООД", "00091000", ["Наем офис {m}", "", ""], true),
    row(COMPANY, 7, ALL_YEAR, -18_000, 0, OUTGOING, "СЧЕТОВОДСТВО „ТОЧНИ СМЕТКИ“ ООД", "00092000", ["Ф-ра {m}", "Абонаментно обслужване", ""], true),
    row(COMPANY, 10, ALL_YEAR, -112_000, 3, OUTGOING, "Петър Несъществуващ", "00093001", ["Заплата {m}", "", ""], false),
    row(COMPANY, 10, ALL_YEAR, -118_000, 3, OUTGOING, "Гергана Въображаема", "00093002", ["Заплата {m}", "", ""], false),
    row(COMPANY, 14, ALL_YEAR, -68_000, 40, BUDGET, "ТД НА НАП ИЗМИСЛОВО", "00084000", ["ДДС {m}", "БУЛСТАТ 000000000", ""], false),
    row(COMPANY, 16, ALL_YEAR, -2_990, 0, OUTGOING, "HOSTING NOWHERE OÜ", "00095555", ["Invoice {m}", "VPS \"nano\"", ""], false),
    row(COMPANY, 15, (6, 6), -120_000, 25, BUDGET, "ТД НА НАП ИЗМИСЛОВО", "00084000", ["Корпоративен данък", "", ""], false),
    row(DOLLARS, 11, (3, 3), 150_000, 15, INCOMING, "NOWHERE SOFTWARE INC", "00099900", ["INVOICE {m}", "CONSULTING", ""], true),
    row(DOLLARS, 18, (9, 9), 84_000, 15, INCOMING, "NOWHERE SOFTWARE INC", "00099900", ["INVOICE {m}", "CONSULTING", ""], true),
    row(DOLLARS, 30, (12, 12), -1_200, 0, FEE, "", "", ["Годишна такса", "", ""], false),
];

#[allow(clippy::too_many_arguments)]
const fn row(
    account: usize,
    day: u32,
    months: (u32, u32),
    cents: i64,
    strays: u32,
    kind: Kind,
    party: &'static str,
    other: &'static str,
    lines: [&'static str; 3],
    fee: bool,
) -> Recurring {
    Recurring { account, day, months, cents, strays, kind, party, other, lines, fee }
}

/// A shop that takes the card: name, way of paying, lowest and highest amount in euro cents, frequency, a line of text.
pub(super) type Shop = (&'static str, Kind, u32, u32, u32, &'static str);

#[rustfmt::skip]
pub(super) const SHOPS: [Shop; 20] = [
    ("СУПЕРМАРКЕТ „ИЗОБИЛИЕ“ 014", POS, 600, 8_200, 26, "ИЗМИСЛОВО BG"),
    ("ПЕКАРНА ЗЛАТЕН КЛАС", POS, 90, 620, 14, "ИЗМИСЛОВО BG"),
    ("КАФЕ ПРИ МЕЧО ☕", POS, 160, 420, 14, "ИЗМИСЛОВО BG"),
    ("ПЛОД-ЗЕЛЕНЧУК \"ПРИ ЛЕЛЯ МИЧЕ\"", POS, 250, 1_900, 8, "ИЗМИСЛОВО BG"),
    ("БЕНЗИНОСТАНЦИЯ НАФТА-ФАНТАЗИЯ 7", POS, 2_500, 7_800, 5, "АМ „НИКЪДЕ“ км 42"),
    ("АПТЕКА ЗДРАВЕ 🌿", POS, 300, 4_100, 5, "Кл. карта 0001; -5% отстъпка"),
    ("РЕСТОРАНТ 'ПОД ЛИПИТЕ'", POS, 1_400, 6_900, 5, "бакшиш вкл."),
    ("ДРОГЕРИЯ РОЗА", POS, 350, 2_900, 4, "ИЗМИСЛОВО BG"),
    ("КНИЖАРНИЦА \"АБВ\"", POS, 500, 3_600, 3, "ИЗМИСЛОВО BG"),
    ("ТРАНСПОРТ ИЗМИСЛОВО", POS, 80, 80, 12, "билет 60+ мин"),
    ("КИНО ОГЛЕДАЛО", POS, 700, 2_800, 2, "ред 7, места 1-2"),
    ("BOOKS & MORE <Online>", ONLINE, 700, 4_500, 2, "order #00017 / BERLIN DE"),
    ("@rakodelnica_bg", ONLINE, 900, 5_200, 1, "@rakodelnica_bg: 'плетена шапка' 🧶"),
    ("=IMPORTXML(\"http://127.0.0.1/?\"&A1;\"//a\")", ONLINE, 100, 900, 1, "=HYPERLINK(\"http://127.0.0.1\";\"виж\")"),
    ("-5% отстъпка ООД", ONLINE, 1_000, 4_000, 1, "-5% отстъпка"),
    ("+359 88 000 0000 ВАУЧЕР", ONLINE, 500, 1_000, 1, "+359880000000"),
    ("ИГРАЧКИ\tЧУДО; \"ЧУДО\", \\ и други", ONLINE, 800, 4_900, 1, "'цитат' \"цитат\" „цитат“, точка; запетая"),
    ("СПОРТ МАКС", POS, 1_500, 9_500, 2, "ИЗМИСЛОВО BG"),
    ("ВЕТЕРИНАР Д-Р МЯУ 🐈\u{200d}⬛", POS, 1_500, 6_000, 1, "ваксина"),
    ("ФРИЗЬОР \"ШИК\"", POS, 1_200, 3_500, 2, "ИЗМИСЛОВО BG"),
];

/// Customers of the company: name and account part.
pub(super) const CLIENTS: [(&str, &str); 5] = [
    ("ПЪРВИ КЛИЕНТ АД", "00071001"),
    ("\"ВТОРИ & СИНОВЕ\" ООД", "00071002"),
    ("ETAP DREI GMBH", "00071003"),
    ("Фондация „Несъществуваща“", "00071004"),
    ("ЧЕТВЪРТИ ЕТАЖ ЕООД", "00071005"),
];

/// Suppliers of the company: name and account part.
pub(super) const SUPPLIERS: [(&str, &str); 4] = [
    ("КОМПЮТРИ И ЧАСТИ ООД", "00072001"),
    ("КУРИЕР БЪРЗАК", "00072002"),
    ("=SUM(A:A) ЕООД", "00072003"),
    ("Печатница „Мастилото“", "00072004"),
];

/// A remittance text of the length people really write.
pub(super) const LONG: [&str; 3] = [
    "Плащане по договор № 2023-017/15.02.2023 г. за разработка, внедряване и поддръжка на софтуер, съгласно приемо-предавателен протокол",
    "към фактури 0000000101, 0000000102 и 0000000105; \"аванс\" 30% удържан; при въпроси: office@example.com или +359 2 000 0000",
    "Основание: Приложение 2, т. 4.1 и т. 4.2; срок 14 дни; неустойка 0,5% на ден; =не е формула; благодарим Ви за доверието 🙏",
];
