"""Word tables of the phrasebook: fixed phrases and the fillers of the sentence templates.

One entry a line, columns separated by ``|``. The English and Russian columns of a line are translations of each other;
Russian fillers are stored in every case form that a template needs, so that no morphology is computed.
"""


def _rows(table: str) -> tuple[tuple[str, ...], ...]:
    """Splits a ``|`` separated table into rows of columns."""
    return tuple(tuple(line.split("|")) for line in table.strip().splitlines())


# English sentence, Russian sentence.
FIXED = _rows("""
Hello.|Здравствуйте.
Hi.|Привет.
Good morning.|Доброе утро.
Good afternoon.|Добрый день.
Good evening.|Добрый вечер.
Good night.|Спокойной ночи.
Goodbye.|До свидания.
See you tomorrow.|До завтра.
See you later.|До встречи.
Thank you.|Спасибо.
Thank you very much.|Большое спасибо.
You are welcome.|Пожалуйста, не за что.
Please.|Пожалуйста.
Excuse me.|Извините.
I am sorry.|Мне очень жаль.
Yes.|Да.
No.|Нет.
Yes, of course.|Да, конечно.
No, thank you.|Нет, спасибо.
How are you?|Как дела?
I am fine, thank you.|У меня всё хорошо, спасибо.
What is your name?|Как вас зовут?
Nice to meet you.|Приятно познакомиться.
Where are you from?|Откуда вы?
Do you speak English?|Вы говорите по-английски?
Do you speak Russian?|Вы говорите по-русски?
I do not understand.|Я не понимаю.
I do not know.|Я не знаю.
Please speak slowly.|Говорите, пожалуйста, медленно.
Please repeat that.|Повторите, пожалуйста.
What does it mean?|Что это значит?
Help me, please.|Помогите мне, пожалуйста.
I need help.|Мне нужна помощь.
I need a doctor.|Мне нужен врач.
Call the police.|Вызовите полицию.
Call an ambulance.|Вызовите скорую помощь.
I am lost.|Я заблудился.
I lost my passport.|Я потерял паспорт.
I lost my phone.|Я потерял телефон.
How much does it cost?|Сколько это стоит?
It is too expensive.|Это слишком дорого.
Can I pay by card?|Можно заплатить картой?
I will pay in cash.|Я заплачу наличными.
The bill, please.|Счёт, пожалуйста.
The menu, please.|Меню, пожалуйста.
I am hungry.|Я хочу есть.
I am thirsty.|Я хочу пить.
I am tired.|Я устал.
It is very tasty.|Это очень вкусно.
What time is it?|Который час?
What day is it today?|Какой сегодня день?
The weather is good today.|Сегодня хорошая погода.
The weather is bad today.|Сегодня плохая погода.
It is cold today.|Сегодня холодно.
It is hot today.|Сегодня жарко.
It is raining.|Идёт дождь.
It is snowing.|Идёт снег.
Go straight ahead.|Идите прямо.
Turn left.|Поверните налево.
Turn right.|Поверните направо.
Stop here, please.|Остановитесь здесь, пожалуйста.
I have a reservation.|У меня забронирован номер.
Where is my key?|Где мой ключ?
What is the wifi password?|Какой пароль от вайфая?
The room is too cold.|В номере слишком холодно.
The room is very noisy.|В номере очень шумно.
I am learning Russian.|Я учу русский язык.
I am learning English.|Я учу английский язык.
I love you.|Я тебя люблю.
Happy birthday.|С днём рождения.
Happy New Year.|С Новым годом.
Good luck.|Удачи.
Have a good trip.|Счастливого пути.
Wait a minute, please.|Подождите минуту, пожалуйста.
Follow me, please.|Идите за мной, пожалуйста.
Can you help me?|Вы можете мне помочь?
I like it very much.|Мне это очень нравится.
I do not like it.|Мне это не нравится.
Let us go.|Пойдёмте.
Everything is fine.|Всё хорошо.
""")

# English, Russian nominative, genitive (after "до", "у"), dative (after "к"), gender.
PLACES = _rows("""
hotel|отель|отеля|отелю|m
train station|вокзал|вокзала|вокзалу|m
airport|аэропорт|аэропорта|аэропорту|m
museum|музей|музея|музею|m
pharmacy|аптека|аптеки|аптеке|f
bank|банк|банка|банку|m
restaurant|ресторан|ресторана|ресторану|m
market|рынок|рынка|рынку|m
bus stop|автобусная остановка|автобусной остановки|автобусной остановке|f
hospital|больница|больницы|больнице|f
theater|театр|театра|театру|m
library|библиотека|библиотеки|библиотеке|f
park|парк|парка|парку|m
post office|почта|почты|почте|f
school|школа|школы|школе|f
beach|пляж|пляжа|пляжу|m
bridge|мост|моста|мосту|m
supermarket|супермаркет|супермаркета|супермаркету|m
church|церковь|церкви|церкви|f
university|университет|университета|университету|m
""")

# English with article, English definite, Russian accusative, Russian nominative.
FOOD = _rows("""
a cup of coffee|the coffee|чашку кофе|кофе
a cup of tea|the tea|чашку чая|чай
a glass of water|the water|стакан воды|вода
a bottle of wine|the wine|бутылку вина|вино
some bread|the bread|хлеб|хлеб
some soup|the soup|суп|суп
a salad|the salad|салат|салат
some fish|the fish|рыбу|рыба
some chicken|the chicken|курицу|курица
some meat|the meat|мясо|мясо
some cheese|the cheese|сыр|сыр
an apple|the apple|яблоко|яблоко
some ice cream|the ice cream|мороженое|мороженое
a pizza|the pizza|пиццу|пицца
some milk|the milk|молоко|молоко
some juice|the juice|сок|сок
a beer|the beer|пиво|пиво
some potatoes|the potatoes|картошку|картошка
""")

# English, Russian accusative, genitive, prepositional.
CITIES = _rows("""
Moscow|Москву|Москвы|Москве
London|Лондон|Лондона|Лондоне
Paris|Париж|Парижа|Париже
Berlin|Берлин|Берлина|Берлине
Rome|Рим|Рима|Риме
Madrid|Мадрид|Мадрида|Мадриде
Kazan|Казань|Казани|Казани
Saint Petersburg|Санкт-Петербург|Санкт-Петербурга|Санкт-Петербурге
New York|Нью-Йорк|Нью-Йорка|Нью-Йорке
Tokyo|Токио|Токио|Токио
""")

# English, Russian genitive.
COUNTRIES = _rows("""
Russia|России
America|Америки
England|Англии
Germany|Германии
France|Франции
Italy|Италии
Spain|Испании
Japan|Японии
China|Китая
Canada|Канады
""")

# English, Russian adverbial.
DAYS = _rows("""
today|сегодня
tomorrow|завтра
on Monday|в понедельник
on Tuesday|во вторник
on Wednesday|в среду
on Thursday|в четверг
on Friday|в пятницу
on Saturday|в субботу
on Sunday|в воскресенье
""")

# English, Russian with the counted hour.
HOURS = _rows("""
one|час
two|два часа
three|три часа
four|четыре часа
five|пять часов
six|шесть часов
seven|семь часов
eight|восемь часов
nine|девять часов
ten|десять часов
eleven|одиннадцать часов
twelve|двенадцать часов
""")

# English, Russian.
NAMES = _rows("""
Anna|Анна
Ivan|Иван
Maria|Мария
Peter|Пётр
Olga|Ольга
Michael|Михаил
Victor|Виктор
Elena|Елена
Nina|Нина
Boris|Борис
Alexander|Александр
Kate|Катя
""")

# English, Russian masculine, Russian feminine.
NUMBERS = _rows("""
two|два|две
three|три|три
four|четыре|четыре
five|пять|пять
six|шесть|шесть
seven|семь|семь
eight|восемь|восемь
nine|девять|девять
ten|десять|десять
twenty|двадцать|двадцать
""")

# English numeral, Russian collective form, for "a table for N people".
PARTIES = {"two": "двоих", "three": "троих", "four": "четверых"}
