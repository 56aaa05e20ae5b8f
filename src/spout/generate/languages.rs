//! The words of posts: some languages and scripts, and their shares.

use std::sync::LazyLock;

/// A language of posts.
pub(super) struct Language {
    /// Its code in ISO 639-1.
    pub code: &'static str,
    /// True if spaces separate its words.
    pub spaced: bool,
    /// Its words, the frequent ones first.
    pub words: Vec<&'static str>,
    /// A table that maps ten random bits to a word, in which the first words are more frequent.
    spread: Vec<u8>,
}

/// The number of places in [`PATTERN`]. The number of a user and the rank of a hashtag, modulo this
/// number, are a place in it.
pub(super) const PLACES: u32 = 16;

/// The share of each language, as indices into [`LANGUAGES`]: the number of its places.
const PATTERN: [usize; PLACES as usize] = [0, 1, 0, 2, 0, 3, 0, 4, 1, 5, 0, 6, 7, 0, 8, 9];

static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    [
        ("en", true, ENGLISH),
        ("es", true, SPANISH),
        ("ja", false, JAPANESE),
        ("ar", true, ARABIC),
        ("ru", true, RUSSIAN),
        ("hi", true, HINDI),
        ("th", false, THAI),
        ("de", true, GERMAN),
        ("zh", false, CHINESE),
        ("ko", true, KOREAN),
    ]
    .into_iter()
    .map(|(code, spaced, words)| Language::new(code, spaced, words))
    .collect()
});

impl Language {
    /// Returns the language at a place, which may be any number.
    pub(crate) fn at(place: u32) -> &'static Self {
        &LANGUAGES[PATTERN[(place % PLACES) as usize]]
    }

    /// Returns the number of places below `place` with the same language.
    pub(crate) fn earlier(place: u32) -> u32 {
        let language = PATTERN[(place % PLACES) as usize];
        let share =
            |places: &[usize]| places.iter().filter(|other| **other == language).count() as u32;
        place / PLACES * share(&PATTERN) + share(&PATTERN[..(place % PLACES) as usize])
    }

    fn new(code: &'static str, spaced: bool, words: &'static str) -> Self {
        let words: Vec<_> = words.split_whitespace().collect();
        let weight = |rank: usize| 1024 / (rank + 3);
        let total: usize = (0..words.len()).map(weight).sum();
        let mut spread = Vec::with_capacity(1024);
        for rank in 0..words.len() {
            let until = spread.len() + weight(rank) * 1024 / total;
            spread.resize(until, rank as u8);
        }
        spread.resize(1024, 0);
        Self { code, spaced, words, spread }
    }

    /// Returns the word for ten random bits; higher bits are ignored.
    pub(crate) fn word(&self, bits: u32) -> &'static str {
        self.words[usize::from(self.spread[(bits & 1023) as usize])]
    }
}

/// Emoji of all shapes: one character, a variation, a skin tone, a family, a flag, a keycap.
pub(super) const EMOJI: [&str; 16] = [
    "😀",
    "🌩️",
    "👍🏽",
    "👩‍👩‍👧",
    "🇺🇳",
    "1️⃣",
    "🔥",
    "🌊",
    "❤️",
    "🎉",
    "☔",
    "🤷🏿‍♀️",
    "🐝",
    "🥁",
    "🚲",
    "✨",
];

const ENGLISH: &str = "the and to of a in it is that for on we with storm they this at be from rain as \
    wind what so today city night coffee river train music light morning people water garden bridge \
    winter window market street summer weather tomorrow bicycle football harbour concert library \
    mountain lightning umbrella newspaper chocolate satellite orchestra lighthouse thunder breakfast \
    keyboard telescope festival sunflower airport island";

const SPANISH: &str = "de la que el en y los se del las un por con una su para es al como más pero hoy \
    lluvia tormenta noche ciudad mañana café música río tren puente calle viento mercado ventana \
    verano invierno jardín montaña playa domingo periódico bicicleta corazón estrella camino biblioteca \
    fiesta partido cielo relámpago guitarra chocolatería aeropuerto naranja tranvía cumpleaños girasol \
    mañanero ñandú pingüino isla";

const JAPANESE: &str = "の は を に が で と も から まで 今日 雨 明日 嵐 天気 東京 音楽 電車 朝 夜 とても コーヒー 猫 駅 \
    川 橋 祭り 図書館 新聞 傘 雷 山 海 桜 自転車 散歩 映画 写真 野球 学校 友達 おいしい ありがとう すごい 花火 灯台 \
    望遠鏡 朝ごはん 窓 島";

const ARABIC: &str = "في من على إلى أن هذا مع كان عن ما لا اليوم مطر عاصفة ليل مدينة صباح قهوة موسيقى نهر قطار \
    جسر شارع ريح سوق نافذة صيف شتاء حديقة جبل بحر جريدة دراجة قلب نجمة طريق مكتبة مهرجان مباراة سماء برق غيتار \
    مطار برتقال منارة فطور شمس قمر جزيرة سفينة";

const RUSSIAN: &str = "и в не на я что с по это он как мы а но сегодня дождь гроза ночь город утро кофе музыка \
    река поезд мост улица ветер рынок окно лето зима сад гора море газета велосипед сердце звезда дорога \
    библиотека праздник матч небо молния гитара аэропорт апельсин маяк завтрак солнце подсолнух остров ёжик";

const HINDI: &str = "है के में की से का और को पर यह वह आज बारिश तूफ़ान रात शहर सुबह कॉफ़ी संगीत नदी रेल पुल सड़क हवा \
    बाज़ार खिड़की गर्मी सर्दी बगीचा पहाड़ समुद्र अख़बार साइकिल दिल तारा रास्ता पुस्तकालय त्योहार खेल आकाश बिजली सितार \
    हवाईअड्डा संतरा दीपक नाश्ता सूरज चाँद द्वीप छाता";

const THAI: &str = "ที่ และ ใน เป็น มี ได้ ไม่ ของ วันนี้ ฝน พายุ กลางคืน เมือง เช้า กาแฟ ดนตรี แม่น้ำ รถไฟ สะพาน ถนน ลม \
    ตลาด หน้าต่าง ฤดูร้อน สวน ภูเขา ทะเล หนังสือพิมพ์ จักรยาน หัวใจ ดาว ทาง ห้องสมุด เทศกาล ฟุตบอล ท้องฟ้า ฟ้าผ่า \
    กีตาร์ สนามบิน ส้ม ประภาคาร อาหารเช้า ดวงอาทิตย์ ทานตะวัน เกาะ ร่ม แมว ช้าง เพื่อน อร่อย";

const GERMAN: &str = "der die und das ist nicht mit ein auf wir es für von im heute Regen Gewitter Nacht Stadt \
    Morgen Kaffee Musik Fluss Zug Brücke Straße Hagel Markt Fenster Sommer Herbst Garten Berg Meer Zeitung \
    Fahrrad Herz Stern Weg Bücherei Volksfest Fußball Himmel Blitz Geige Flughafen Leuchtturm Frühstück \
    Sonne Sonnenblume Insel Regenschirm Straßenbahn Übermorgen";

const CHINESE: &str = "的 是 在 了 我们 不 有 这 和 今天 下雨 风暴 晚上 城市 早上 咖啡 音乐 河 火车 桥 街道 风 市场 窗户 夏天 \
    冬天 花园 高山 大海 报纸 自行车 心 星星 道路 圖書館 節日 足球 天空 闪电 吉他 机场 橙子 灯塔 早餐 太阳 向日葵 岛 雨伞 朋友 好吃";

const KOREAN: &str = "이 그 는 을 에 가 와 도 에서 오늘 비 폭풍 밤 도시 아침 커피 음악 강 기차 다리 거리 바람 시장 창문 여름 \
    겨울 정원 산 바다 신문 자전거 마음 별 길 도서관 축제 축구 하늘 번개 기타 공항 오렌지 등대 아침밥 해 해바라기 섬 우산 친구 맛있다";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_need_no_escape_and_are_there_once() {
        for language in LANGUAGES.iter() {
            assert!(language.words.len() >= 45 && language.words.len() < 256, "{}", language.code);
            for (i, word) in language.words.iter().enumerate() {
                assert!(!word.contains(['"', '\\', '<', '&', '#', '@']), "{word}");
                assert!(!language.words[..i].contains(word), "{word}");
            }
        }
    }

    #[test]
    fn the_first_words_come_more_often_and_all_come() {
        for language in LANGUAGES.iter() {
            let times = |word: &str| (0..1024).filter(|bits| language.word(*bits) == word).count();
            assert!(times(language.words[0]) > 5 * times(language.words[40]), "{}", language.code);
            assert!(language.words.iter().all(|word| times(word) > 0), "{}", language.code);
        }
    }

    #[test]
    fn places_of_a_language_are_numbered_without_gaps() {
        let mut next = std::collections::HashMap::new();
        for place in 0..100 {
            let number = next.entry(Language::at(place).code).or_insert(0);
            assert_eq!(Language::earlier(place), *number);
            *number += 1;
        }
    }
}
